"""The `:` line: names and their beginnings, what it offers, what it remembers, and what it says when it does not understand."""

import subprocess
from pathlib import Path

import pytest

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.keys.jumps import JUMPS, Unclear, actions_by_name, completions, go
from lamina.tui.model.session import Session
from lamina.tui.model.typed import lines_file
from lamina.tui.widgets.jump_line import JumpLine
from tests.live.harness import ROOT
from tests.tui.waiting import type_ahead, until


def hint(line: JumpLine) -> str:
    return str(line._hint.render())


async def test_a_walk_by_names(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 36)) as pilot:
        await until(lambda: app.processes._list.rows)
        line = app.processes.jump_line
        type_ahead(app, ":jo")
        await until(lambda: "jobs" in hint(line))
        await pilot.press("tab", "enter")
        await until(lambda: app.screen is app.jobs and not line.display)

        # Everything typed ahead reaches the line; arrows go through what was typed.
        line = app.jobs.jump_line
        # To a process that began only now, and is in no table yet.
        with subprocess.Popen(["sleep", "60"]) as fresh:
            type_ahead(app, f":pid {fresh.pid}\r")
            await until(lambda: app.screen is app.processes and app.session.target and app.session.target.pid == fresh.pid)
            await until(lambda: app.processes._list.row and app.processes._list.row.pid == fresh.pid)
            fresh.kill()
        line = app.processes.jump_line
        await pilot.press("colon", "up", "up")
        assert line._input.value == "jobs"
        await pilot.press("down", "escape")
        assert not line.display and app.focused is app.processes._list

        # What cannot be meant is said in the line, which stays open.
        type_ahead(app, ":pid x\r")
        await until(lambda: "a pid is a number" in hint(line))
        await until(lambda: line.display and line._input.has_focus)
        await pilot.press("escape")
        type_ahead(app, f":s {tmp_path}/sh")
        await until(lambda: "shots" in hint(line))
        await pilot.press("tab", "enter")
        await until(lambda: app.session.stack_dir == tmp_path / "shots" and app.current_mode == "stack")
        typed = [*app.history.lines]
        await until(lambda: lines_file().is_file() and lines_file().read_text().splitlines() == typed)
    # The next lamina knows them, too.
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 36)):
        await until(lambda: app.history.lines == typed)
    assert lines_file().stat().st_mode & 0o777 == 0o600


async def test_what_is_unclear_is_said_in_words(tmp_path: Path) -> None:
    app = LaminaApp(Session(tmp_path))
    async with app.run_test(size=(100, 30)):
        for line, why in (
            ("nonsense", "no 'nonsense' here"),
            ("jobs 3", ":jobs takes nothing more"),
            ("layer 9", "no stack with layers"),
            ("addr xyz", "'xyz' is no address"),
            ("addr 1000", "nothing on this screen has address 1000"),
            ("theme", "which theme"),
            ("stack /etc/passwd", "is no directory"),
        ):
            with pytest.raises(Unclear, match=why):
                await go(app, line, {})
        assert await completions(app, "theme ansi-l", {}) == ["theme ansi-light"]
        actions = actions_by_name(app)
        assert "track" in await completions(app, "t", actions) and "stack" in await completions(app, "s", actions)
        assert actions["track"].node is app.screen and actions["squash"].mode == "stack"
        # An action may be typed by the beginning of its name, if only one begins like that.
        await go(app, "jo", actions)
        await until(lambda: app.current_mode == "jobs")


def test_a_name_means_one_thing_and_is_documented() -> None:
    names = [name for jump in JUMPS for name in jump.names]
    assert len(names) == len(set(names))
    page = (ROOT / "docs" / "keys.md").read_text()
    assert [jump.usage for jump in JUMPS if f"`{jump.usage}`" not in page] == []
