"""The process screen on real programs: marks with their reasons, filters, folds, orders, following, pausing, columns."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textual.pilot import Pilot

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.screens.processes_screen import ProcessScreen
from tests.live.harness import Reaper, start_c
from tests.tui.crowd import Crowd, crowd
from tests.tui.waiting import until

# Other tests have crowds too, at the same time.
TAG = "pq"


@contextmanager
def program_of_a_shell(directory: Path) -> Iterator[tuple[int, str]]:
    """A shell whose command line names the program that it runs: its pid, and the name."""
    program = Path(shutil.copy("/bin/sleep", directory / "zebra77"))
    with subprocess.Popen(["sh", "-c", f"{program} 600; :"], start_new_session=True) as shell:
        try:
            yield shell.pid, program.name
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


@contextmanager
def program_in_a_terminal() -> Iterator[int]:
    """A program that only waits, in a terminal that is not part of its tree. Its pid."""
    master, slave = os.openpty()
    process = subprocess.Popen(["sleep", "600"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        os.close(master)


class Story:
    """One session at the process screen."""

    def __init__(self, app: LaminaApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.screen = app, pilot, app.processes
        self.list, self.known = self.screen._list, self.screen._known

    @property
    def pid(self) -> int:
        assert self.list.row is not None
        return self.list.row.pid

    @property
    def pids(self) -> list[int]:
        return [row.pid for row in self.list.rows]

    @property
    def title(self) -> str:
        return str(self.screen._left.border_title)

    def line(self, y: int) -> str:
        return "".join(segment.text for segment in self.list.render_line(y))

    def line_of(self, pid: int) -> int:
        return self.pids.index(pid) + 1 - self.list.scroll_offset.y

    def text_of(self, pid: int) -> str:
        return self.line(self.line_of(pid))

    def shown(self) -> int:
        """How many of the crowd are to be seen, without its root."""
        return sum(self.known.by_pid[pid].name.startswith(TAG) for pid in self.pids)

    @property
    def detail(self) -> str:
        return self.screen._detail._described.plain

    async def again(self) -> None:
        """The table is read anew, and shown."""
        before = self.known.processes.since
        self.screen.read()
        await until(lambda: self.known.processes.since > before and not self.known.processes.unasked)

    async def filter(self, line: str) -> None:
        """Paste a filter and leave the line: each key that the pilot presses takes 0.1 s."""
        await self.pilot.press("slash")
        self.screen._filter_line._input.value = line
        await self.pilot.press("enter")

    async def go_to(self, pid: int) -> None:
        self.screen.go_to_process(pid)
        await until(lambda: self.pid == pid)


async def test_marks_filters_folds_orders_following_and_columns(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    with crowd(30, 10, TAG) as many, program_in_a_terminal() as sleeper, program_of_a_shell(tmp_path) as (shell, name):
        async with app.run_test(size=(110, 36)) as pilot:
            story = Story(app, pilot)
            await until(lambda: many.pid in story.pids and not story.known.processes.unasked)
            await marks(story, victim.pid, sleeper, many)
            await filters(story, many)
            await a_program_before_its_shell(story, shell, name)
            await folds(story, many)
            await what_is_seen_stays(story, many)
            await orders(story, many, victim.pid)
            await a_pause(story, many)
            await columns(story, pilot)
            await story.go_to(victim.pid)
            await pilot.press("enter")
            await until(lambda: app.current_mode == "target" and app.session.target and app.session.target.pid == victim.pid)


async def a_program_before_its_shell(story: Story, shell: int, name: str) -> None:
    await until(lambda: any(it.name == name for it in story.known.by_pid.values()))
    await story.filter(name)
    await until(lambda: story.known.hits == 2 and story.known.by_pid[story.pid].name == name)
    assert story.pid != shell and shell in story.pids
    await story.pilot.press("escape")


async def marks(story: Story, fine: int, in_terminal: int, many: Crowd) -> None:
    """✓ as it is, ! with an option, ✗ with the reason; also of rows that the cursor is not on."""
    await story.go_to(fine)
    await until(lambda: "✓ can be dumped" in story.detail)
    assert story.text_of(fine).rstrip().endswith("✓") and "kept" in story.detail
    await until(lambda: "the first is full" in story.detail and "works here" in story.detail)
    await story.go_to(in_terminal)
    await until(lambda: "! can be dumped with --shell-job" in story.detail)
    assert story.text_of(in_terminal).rstrip().endswith("!") and "add --shell-job" in story.detail
    below = story.pids[story.pids.index(many.pid) + 2]
    await story.go_to(below)
    await story.go_to(many.pid)
    await until(lambda: "✗ cannot be dumped, with 30 below it" in story.detail)
    assert "standard input is a pipe whose writing end is held by process" in story.detail
    await until(lambda: story.text_of(below).rstrip().endswith("✗"))
    await pilot_press(story, "home")
    assert "does not touch it" in story.detail


async def pilot_press(story: Story, *keys: str) -> None:
    await story.pilot.press(*keys)
    await story.pilot.pause()


async def filters(story: Story, many: Crowd) -> None:
    """A regular expression, its ancestors dimmed, its opposite, letters in their order, and nonsense."""
    root = next(row for row in story.known.processes.rows if row.pid == many.pid)
    await story.filter(r"^pqleader-\d+$")
    leaders = [row.pid for row in story.list.rows if row.hit]
    assert len(leaders) == 3 and story.screen._left.border_subtitle == r"3 hits for /^pqleader-\d+$"
    assert [row.hit for row in story.list.rows if row.pid in (many.pid, root.ppid)] == [False, False]
    assert story.pid == leaders[0]
    await story.filter("-f crwd3010pq")
    assert many.pid in [row.pid for row in story.list.rows if row.hit]
    await story.filter("!e")
    assert not any("e" in story.known.by_pid[row.pid].name for row in story.list.rows if row.hit)
    await story.filter("x[/]")
    assert str(story.screen._left.border_subtitle).replace("\\", "").endswith("/x[/]")
    await pilot_press(story, "escape", "slash", *"c[")
    assert "no regex: unterminated" in str(story.screen._filter_line._problem.content) and story.screen._filter_line._problem.display
    await pilot_press(story, "escape")
    assert story.known.filter is None and not story.screen._filter_line.display and story.list.has_focus


async def folds(story: Story, many: Crowd) -> None:
    """One, all, and what a filter finds although it is folded."""
    await story.go_to(many.pid)
    assert story.shown() == 30
    await pilot_press(story, "space")
    assert story.shown() == 0 and "+30" in story.text_of(many.pid)
    await story.filter("^pqleader-0$")
    assert story.known.by_pid[story.pid].name == "pqleader-0"
    await pilot_press(story, "escape")
    assert story.shown() == 0
    # What one goes to by its pid is shown, whatever hides it.
    member = next(pid for pid, process in story.known.by_pid.items() if process.name == "pqmember-1")
    await story.filter("nothing is called so")
    await story.go_to(member)
    assert story.known.filter is None and story.shown() == 30 and not story.screen._filter_line._input.value
    await pilot_press(story, "asterisk", "asterisk")
    assert story.shown() == 30
    await story.go_to(next(pid for pid in story.pids if story.known.by_pid[pid].name == "pqmember-1"))
    await pilot_press(story, "asterisk")
    # The cursor goes to the one that hides its row.
    assert story.shown() == 0 and story.list.row and story.list.row.folded >= 30
    await pilot_press(story, "asterisk")


async def what_is_seen_stays(story: Story, many: Crowd) -> None:
    """Births and deaths above and below move nothing that is looked at, and no row slips under the cursor."""
    here = next(pid for pid in reversed(story.pids) if story.known.by_pid[pid].name.startswith("pqmember-"))
    await story.go_to(here)
    late = [many.add() for _ in range(4)]
    await story.again()
    line = story.line_of(here)
    many.take(late.pop(0))
    late.append(many.add())
    await story.again()
    assert story.pid == here and story.line_of(here) == line
    await story.go_to(late[0])
    line = story.line_of(late[0])
    many.take(late[0])
    await story.again()
    assert story.pid == late[0] and story.line_of(late[0]) == line and "ended" in story.text_of(late[0])
    await pilot_press(story, "d", "t", "enter")
    assert story.app.journal.jobs == [] and story.app.current_mode == "processes" and "it has ended" in story.detail
    await pilot_press(story, "down")
    await story.again()
    assert late[0] not in story.pids
    for pid in late[1:]:
        many.take(pid)


async def orders(story: Story, many: Crowd, victim: int) -> None:
    """By keys and by the mouse, downwards and upwards; a followed row keeps its line."""

    def sizes() -> list[int]:
        return [story.known.by_pid[pid].rss for pid in story.pids]

    await pilot_press(story, "escape", *["greater_than_sign"] * 3)
    assert story.title == "by RSS ↓" and sizes() == sorted(sizes(), reverse=True) and story.pid == story.pids[0]
    await pilot_press(story, "I")
    assert story.title == "by RSS ↑" and sizes() == sorted(sizes()) and "RSS↑" in story.line(0)
    await story.go_to(victim)
    line = story.line_of(victim)
    await pilot_press(story, "full_stop")
    late = [many.add() for _ in range(3)]
    await story.again()
    assert story.line_of(victim) == line and f"following cells {victim}" in story.title
    for pid in late:
        many.take(pid)
    await pilot_press(story, "up")
    assert "following" not in story.title
    at = story.line(0).index("THR")
    for title in ("by THR ↓", "by THR ↑", "tree"):
        assert await story.pilot.click(story.list, offset=(at, 0))
        await until(lambda title=title: story.title == title)  # type: ignore[misc]
    await pilot_press(story, "less_than_sign")
    assert story.title == "by LAYERS ↓"
    await pilot_press(story, "escape")
    assert story.title == "tree"


async def a_pause(story: Story, many: Crowd) -> None:
    """Nothing is read while it is paused, which the title says."""
    await pilot_press(story, "Z")
    assert "paused" in story.title
    before, late = story.known.processes.since, many.add()
    story.screen._refresh_table()
    await pilot_press(story, "down")
    assert story.known.processes.since == before
    await pilot_press(story, "Z")
    await until(lambda: late in story.pids)
    assert "paused" not in story.title


async def columns(story: Story, pilot: Pilot[None]) -> None:
    """Chosen, moved, and dropped from the narrow screen in the order that is declared."""

    def titles() -> list[str]:
        return story.line(0).split()

    assert titles() == ["PID", "NAME", "RSS", "THR", "DIRTY/s", "LAYERS", "OK"]
    await pilot_press(story, "o", "greater_than_sign", "end", "space", "enter")
    assert story.screen.column_names == ("NAME", "PID", "RSS", "THR", "DIRTY/s", "LAYERS", "OK", "COMMAND")
    assert titles() == ["NAME", "PID", "RSS", "THR", "DIRTY/s", "LAYERS", "OK"]  # no room for it
    await pilot.resize_terminal(150, 36)
    await pilot_press(story)
    assert titles() == ["NAME", "PID", "RSS", "THR", "DIRTY/s", "LAYERS", "OK", "COMMAND"]
    story.screen.show_columns(("PID", "NAME", "USER", "RSS", "VIRT", "THR", "PPID", "STARTED", "OK", "no such"))
    await pilot.resize_terminal(80, 24)
    await pilot_press(story)
    assert titles() == ["PID", "NAME", "USER", "RSS", "THR", "PPID", "STARTED", "OK"]
    await pilot_press(story, "o", "0", "enter")
    assert titles() == ["PID", "NAME", "RSS", "THR", "DIRTY/s", "LAYERS", "OK"]


async def test_what_a_tracked_program_writes_is_counted_and_stays_uncounted_for_the_dump(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(110, 36)) as pilot:
        story = Story(app, pilot)
        screen: ProcessScreen = story.screen
        await until(lambda: victim.pid in story.pids)
        await story.go_to(victim.pid)
        await pilot.press("d")
        await until(lambda: app.session.target and app.session.target.layer and app.bridge.busy_with is None)
        await until(lambda: (of := story.known.layer_status.get(victim.pid)) and of.layers == 1 and of.dirty is not None)
        victim.ask("write 60 5")

        def is_counted() -> bool:
            screen._read_layer_status()
            of = story.known.layer_status[victim.pid]
            return of.dirty is not None and of.dirty.pages >= 60 and of.per_second is not None

        await until(is_counted)
        await until(lambda: "pages," in story.detail and "frozen" in story.detail and "newly dirty pages/s" in story.detail)
        await pilot.press("d")
        await until(lambda: app.session.stack and len(app.session.stack.rows) == 2 and app.bridge.busy_with is None)
        assert app.session.stack is not None
        assert 60 <= app.session.stack.rows[0].own_pages <= 100
        await story.again()
        await until(lambda: story.known.layer_status[victim.pid].layers == 2)
        assert story.text_of(victim.pid).split()[-2] == "2"
