"""The jobs screen on a real program: what runs, what waits and what failed; the log; the command log; saving all that. And timed layers."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot

from lamina.core.attach.identity import identify
from lamina.core.dump.dirtied import Dirtied
from lamina.core.dump.request import DumpResult, DumpStats
from lamina.core.dump.rhythm import Due, Rhythm, Timed
from lamina.core.errors import TargetError
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.ask_timed import TimedDialog
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.log import Level
from lamina.tui.model.session import Session
from lamina.tui.operations import dump
from lamina.tui.read.timed_run import TimedRun
from tests.live.harness import Reaper, full, start_c
from tests.tui.waiting import until

MIB = full(1024, 256)


async def test_jobs_log_and_command_log(reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    before, stack = victim.ask(), tmp_path / "shots"
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(110, 36)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("5")
        await cancelled(app)
        assert list(stack.iterdir()) == [] and victim.ask() == before
        stack.rmdir()
        stack.write_text("no directory")
        await failed(app, pilot, f"cannot dump into {stack}: it is a file")
        stack.unlink()
        await pilot.press("d")
        await until(lambda: app.journal.jobs[0].state == journal.DONE)
        await saved(app, pilot)
        assert app.clipboard == f"lamina dump -t {victim.pid} -D {stack}/1 -R --track-mem"
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert any(" error " in line and str(stack) in line for line in lines) and any(" debug " in line for line in lines)
    with (tmp_path / "lamina-jobs-commands.csv").open() as file:
        assert [row["STATE"] for row in csv.DictReader(file)] == [journal.DONE, journal.CANCELLED]
    records = json.loads((tmp_path / "jobs.json").read_text())
    assert records[0]["command"] == app.clipboard and records[0]["pid"] == victim.pid and records[0]["took_us"] > 1000
    assert "command" in (tmp_path / "screen.svg").read_text()


async def cancelled(app: LaminaApp) -> None:
    """One runs, with its rate; another follows it, and is taken back; the one that runs is cancelled from its row."""
    jobs = app.jobs._jobs
    app.simulate_key("d")
    await until(lambda: any("%" in row[3] and "iB/s" in row[3] for row in jobs.view().rows))
    app.simulate_key("t")
    await until(lambda: [job.state for job in jobs.rows] == [journal.WAITING, journal.RUNNING])
    app.simulate_key("c")
    await until(lambda: jobs.rows[0].state == journal.CANCELLED)
    app.simulate_key("down")
    app.simulate_key("c")
    await until(lambda: app.bridge.busy_with is None and not app.journal.waiting and app.journal.running is None)
    assert [job.state for job in app.journal.jobs] == [journal.CANCELLED, journal.CANCELLED]


async def failed(app: LaminaApp, pilot: Pilot[None], words: str) -> None:
    """A dump that fails is a lasting entry, in the engine's words; levels and search find it, and it is copied."""
    log = app.jobs._log_pane.view
    await pilot.press("d")
    await until(lambda: app.journal.jobs[0].state == journal.FAILED)
    await pilot.press("tab", "minus", "minus", "minus")
    await until(lambda: log.has_focus and log.level == Level.ERROR)
    job = app.journal.jobs[0]
    assert job.outcome.startswith(words) and (job.operation.title, job.outcome) in [(entry.about, entry.text) for entry in log.entries]
    await pilot.press("plus", "plus", "plus", "plus")
    assert log.level == Level.DEBUG and any("arm" in entry.text for entry in log.entries)
    await pilot.press("slash", *"IT IS a file", "enter", "n")
    await until(lambda: log.has_focus and log.at in log.hits)
    assert f"/IT IS a file: {log.hits.index(log.at) + 1} of {len(log.hits)} hit" in str(app.jobs._log_pane.border_subtitle)
    entry = log.copy_text()
    await pilot.press("y")
    assert app.clipboard == entry and words in app.clipboard


async def saved(app: LaminaApp, pilot: Pilot[None]) -> None:
    """The log as text, the command log as a table and exactly, the screen as a picture; and a command line copied."""

    def told() -> int:
        return sum("saved" in entry.text for entry in app.notices.log)

    for number, keys in enumerate((["w", *"log.txt"], ["tab", "Y"], ["Y", *"jobs.json"], ["Y", *"screen.svg"]), 1):
        await pilot.press(*keys, "enter")
        await until(lambda number=number: told() == number and app.screen is app.jobs)  # type: ignore[misc]
    assert {name.stat().st_mode & 0o777 for name in map(Path, ("log.txt", "jobs.json", "screen.svg"))} == {0o600}
    await pilot.press("y")


async def test_timed_layers(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    stack = tmp_path / "shots"
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(110, 36)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2", "T")
        await until(lambda: isinstance(app.screen, TimedDialog))
        await pilot.press(*"90s", "tab", *"1M", "tab", "1", "enter")
        await until(lambda: victim.pid in app.timed.runs)
        run = app.timed.runs[victim.pid]
        await until(lambda: run.timed.layers == 1)
        await until(lambda: "every 90 s or 1 MiB dirtied · next in" in app.target_screen.title_bar._timed)
        victim.ask("write 300 7")
        await until(lambda: run.timed.layers == 2 and run.thinning is None and app.bridge.busy_with is None)
        assert [name for name in os.listdir(stack) if name.isdecimal()] == ["2"]
        assert [job.operation.kind for job in app.journal.jobs] == ["thin", "timed", "timed"]
        await pilot.press("T")
        assert not app.timed.runs
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TimedDialog))
        await pilot.press(*"90s", "enter")
        await until(lambda: victim.pid in app.timed.runs and app.timed.runs[victim.pid].timed.layers)
        victim.end()
        await until(lambda: not app.timed.runs)
        assert any("has ended" in entry.text and "after 1 layer" in entry.text for entry in app.notices.log)


class Blind:
    """A counter that cannot look."""

    def count(self) -> int:
        raise TargetError("cannot read", "the page map", "too many open files")

    def close(self) -> None:
        pass


def test_a_reading_that_fails_is_not_taken_for_the_end(tmp_path: Path) -> None:
    here = os.getpid()
    run = TimedRun(here, "python", tmp_path, Timed(Rhythm(30.0), 0.0), identify(here), counter=cast(Dirtied, Blind()))
    assert "too many open files" in run.read()[1]
    gone = replace(run, identity=replace(run.identity, start_time=1))
    assert "another has its pid" in gone.read()[1]


async def test_layers_that_could_not_be_removed_are_removed_later(tmp_path: Path) -> None:
    app = LaminaApp(Session(tmp_path, readonly=True))
    async with app.run_test():
        here = os.getpid()
        run = app.timed.runs[here] = TimedRun(here, "python", tmp_path, Timed(Rhythm(30.0, keep_last=1), 0.0), identify(here))
        for number in range(3):
            run.due, run.operation = Due("30 s went by", 0.0), dump(here, "python", tmp_path)
            app.timed.over(
                Job(run.operation, state=journal.DONE), DumpResult(tmp_path / str(number), "id", DumpStats(), (here,), "uffd-wp async")
            )
            assert run.thinning is None and len(run.taken) == number + 1
