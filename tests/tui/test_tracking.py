"""Tracking by its key: on, seen on the screen, and off again without a trace."""

import os
from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, lamina, start_c
from tests.tui.waiting import until


def descriptors(pid: int) -> list[str]:
    return sorted(os.listdir(f"/proc/{pid}/fd"))


async def test_track_count_and_untrack(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    before = descriptors(victim.pid)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(100, 30)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3", "t")
        await until(lambda: app.session.target and app.session.target.tracker == "uffd-wp async")
        assert len(descriptors(victim.pid)) == len(before) + 1
        victim.ask("write 50 5")
        await until(lambda: app.session.dirty and 50 <= app.session.dirty.pages <= 82)
        assert app.reader.what_stays(app.journal) == [
            f"lamina: tracking of cells {victim.pid} stays on; `lamina untrack -t {victim.pid}` ends it"
        ]
        await pilot.press("t")
        await until(lambda: app.session.target and not app.session.target.tracker)
        assert app.session.dirty is None
        assert descriptors(victim.pid) == before

        await pilot.press("d")
        await until(lambda: app.session.target and app.session.target.layer and app.session.target.tracker)
        await until(lambda: app.bridge.busy_with is None)
        await pilot.press("t")
        await until(lambda: app.session.target and not app.session.target.tracker)
    assert descriptors(victim.pid) == before
    assert victim.ask()["wrong"] == 0


async def test_tracking_that_was_lost_is_said_where_the_user_looks(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(130, 34)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2", "d")
        await until(lambda: app.session.target and app.session.target.layer and app.session.target.tracker)
        await until(lambda: app.bridge.busy_with is None)
        elsewhere = os.environ | {"LAMINA_STATE_DIR": str(tmp_path / "elsewhere")}
        lamina("untrack", "--force", "-t", victim.pid, env=elsewhere)
        await until(lambda: app.session.target and app.session.target.why_untracked)
        await until(lambda: "tracking lost" in app.target_screen.title_bar.render_line(0).text)
        await until(lambda: "full: tracking was ended from outside" in app.target_screen._dump_now.render().plain)
        await pilot.press("d")
        await until(lambda: app.session.target and app.session.target.layer and app.session.target.layer.name == "2")
        await until(lambda: app.bridge.busy_with is None)
        assert any("a full layer: nothing is inherited from ../1: tracking was ended" in text for text in app.journal.jobs[0].notices)
        assert app.session.target and app.session.target.tracker and not app.session.target.why_untracked
    lamina("untrack", "-t", victim.pid)
