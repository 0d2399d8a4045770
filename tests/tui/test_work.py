"""Long work on the screen: progress that moves, cancelling, leaving, and errors in the engine's own words."""

from pathlib import Path

from textual.pilot import Pilot

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.keys.actions import actions_elsewhere, actions_here
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session
from lamina.tui.widgets.job_bar import progress_text
from tests.live.harness import Reaper, Victim, full, start_c
from tests.tui.waiting import until

SIZE = (100, 30)
MIB = full(1024, 384)


async def aim(pilot: Pilot[None], app: LaminaApp, victim: Victim) -> None:
    """Go to the stack screen of *victim*."""
    app.reader.aim(victim.pid)
    await until(lambda: app.session.target is not None)
    await pilot.press("3")
    await until(lambda: app.screen is app.stack)


class Watcher:
    """Notes what the job bar is given while the engine works."""

    def __init__(self, app: LaminaApp) -> None:
        self.app = app
        self.values: list[str] = []
        app.queue.changed.subscribe(app.stack, self._look)

    def _look(self, job: Job | None) -> None:
        if job is not None and job.state == journal.RUNNING and job.progress is not None and job.progress.done:
            self.values.append(progress_text(job))

    @property
    def job(self) -> Job:
        return self.app.journal.jobs[0]

    def has_ended(self) -> bool:
        return bool(self.app.journal.jobs) and self.job.state != journal.RUNNING


async def test_a_large_dump_shows_many_values(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=SIZE) as pilot:
        await aim(pilot, app, victim)
        watcher = Watcher(app)
        await pilot.press("d")
        await until(watcher.has_ended)
        assert watcher.job.state == journal.DONE, watcher.job.outcome
        assert len(set(watcher.values)) >= full(10, 4), watcher.values
        assert any("%" in value and "iB/s" in value for value in watcher.values)
        await until(lambda: app.session.stack is not None and len(app.session.stack.rows) == 1)


async def test_c_cancels_and_nothing_has_happened(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    before = victim.ask()
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=SIZE) as pilot:
        await aim(pilot, app, victim)
        watcher = Watcher(app)
        app.simulate_key("d")
        await until(lambda: watcher.values)
        app.simulate_key("c")
        await until(watcher.has_ended)
        assert watcher.job.state == journal.CANCELLED, watcher.job
    assert list((tmp_path / "shots").iterdir()) == []
    assert victim.ask() == before


async def test_q_asks_while_the_engine_works(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=SIZE) as pilot:
        await aim(pilot, app, victim)
        watcher = Watcher(app)
        app.simulate_key("d")
        await until(lambda: watcher.values)
        app.simulate_key("q")
        await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
        app.simulate_key("right")
        app.simulate_key("enter")
        await until(lambda: not app.is_running)
    assert list((tmp_path / "shots").iterdir()) == []
    assert victim.ask()["wrong"] == 0


async def test_an_error_is_in_the_engines_words_and_stays_in_the_jobs(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    app = LaminaApp(Session(Path("/proc/lamina")))
    async with app.run_test(size=SIZE) as pilot:
        await aim(pilot, app, victim)
        await pilot.press("d")
        await until(lambda: bool(app.journal.jobs) and app.journal.jobs[0].state == journal.FAILED)
        assert "/proc/lamina" in app.journal.jobs[0].outcome
        assert "Traceback" not in app.journal.jobs[0].outcome
        await pilot.press("5")
        await until(lambda: app.screen is app.jobs)


async def test_readonly_changes_nothing(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    app = LaminaApp(Session(tmp_path / "shots", readonly=True))
    async with app.run_test(size=SIZE) as pilot:
        await aim(pilot, app, victim)
        await pilot.press("d", "t")
        await pilot.pause()
        assert app.journal.jobs == []
        refused = {action.name for action in (*actions_here(app.screen), *actions_elsewhere(app, app.screen)) if action.refused}
        assert {"dump", "track", "restore…", "new program", "core file"} <= refused and not {"verify", "filter", "dedup…"} & refused
    assert not (tmp_path / "shots").exists()
