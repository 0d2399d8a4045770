"""A long dump shows how it goes on."""

from pathlib import Path

from lamina.core.events import CancelToken, Event, Progress
from tests.live.harness import Layers, Reaper, start_c


def test_a_dump_of_1_gib_shows_at_least_ten_values(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    from lamina.core.dump.request import DumpRequest
    from lamina.core.dump.session import dump

    victim = start_c(reaper, tmp_path / "victim", "cells", 1024)
    seen: list[Event] = []
    dump(DumpRequest(victim.pid, layers.new(), leave_running=True), seen.append, CancelToken())
    values = {(event.phase, event.done) for event in seen if isinstance(event, Progress)}
    assert len(values) >= 10, values
    assert all(event.done <= event.total for event in seen if isinstance(event, Progress) and event.total)
