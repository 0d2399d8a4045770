"""What the target screen reads of a program: its threads with their stacks and calls, its descriptors in words; and the graph's bars."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lamina.tui.model.target import look_up
from lamina.tui.read.target_memory import TargetMemoryReader
from lamina.tui.read.target_parts import read_hindrance, read_parts
from lamina.tui.widgets.rate_graph import bar_part
from tests.live.harness import Reaper, start_c


def test_threads_have_stacks_and_calls_and_descriptors_words(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "changing")
    sleeper = victim.ask("thread")["result"]
    opened = victim.ask("open kept")["result"]
    victim.ask(f"append {opened}")
    parts = read_parts(victim.pid)
    thread = next(row for row in parts.threads if row.tid == sleeper)
    assert thread.call in ("clock_nanosleep", "nanosleep", "running") and parts.threads[0].tid == victim.pid
    named = [area for area in TargetMemoryReader().read(look_up(victim.pid, tmp_path)).space.areas if area.name == f"stack {sleeper}"]
    assert len(named) == 1 and (not thread.stack or named[0].start <= thread.stack < named[0].end)
    words = {row.fd: (row.kind, row.leads_to) for row in parts.descriptors}
    assert words[opened] == ("file", f"{tmp_path}/victim/kept at 10") and read_hindrance(victim.pid) == ""


@given(st.floats(0, 1), st.integers(1, 8))
def test_a_bar_is_as_high_as_its_share(share: float, rows: int) -> None:
    column = [" ▁▂▃▄▅▆▇█".index(bar_part(share, rows, row)) for row in range(rows)]
    assert column == sorted(column, reverse=True)
    assert abs(sum(column) - share * rows * 8) <= 0.5 or (sum(column) == 1 and share > 0)
