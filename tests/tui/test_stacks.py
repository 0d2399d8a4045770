"""Stacks of programs that have ended are found again and put back; layers that cannot be read say why."""

import subprocess
from pathlib import Path

from textual.widgets import Input

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.choose_stack import ChooseStack
from lamina.tui.model.session import Session
from lamina.tui.read.stack_reader import StackReader
from tests.corpus import unpack
from tests.live.harness import Reaper, alive, start_c
from tests.tui.waiting import until


async def test_a_program_that_has_ended_is_put_back_by_a_later_lamina(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    before = victim.ask()
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3", "F")
        await until(lambda: app.focused is not None and app.focused.id == "answer-cancel")
        await pilot.press("right", "enter")
        await until(lambda: app.session.stack and app.session.stack.rows)
    reaper.end(victim.pid)
    assert not alive(victim.pid)

    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3", "o")
        await until(lambda: isinstance(app.screen, ChooseStack))
        await pilot.press("enter")
        await until(lambda: app.session.stack and app.session.stack.rows)
        await pilot.press("r")
        await until(lambda: app.focused is not None and app.focused.id == "answer-cancel")
        await pilot.press("right", "enter")
        await until(lambda: app.session.target and app.session.target.layer)
        assert app.session.stack_dir == app.session.target.stack  # type: ignore[union-attr]
    assert victim.ask() == before


async def test_of_a_stack_that_was_named_another_is_opened_and_the_way_back_is_there(tmp_path: Path) -> None:
    named, other = unpack("criu-3.17.1/three", tmp_path / "a"), unpack("criu-3.17.1/three", tmp_path / "b")
    app = LaminaApp(Session(named))
    async with app.run_test(size=(100, 30)) as pilot:
        await until(lambda: app.session.stack and app.session.stack.rows)
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, ChooseStack))
        await pilot.press("a")
        await until(lambda: isinstance(app.focused, Input))
        app.screen.query_one(Input).value = str(other)
        await pilot.press("enter")
        await until(lambda: app.session.stack and app.session.stack.path == other and app.session.stack.rows)
        assert f"layers go to {other} now, no longer to {named}" in [entry.text for entry in app.notices.log]
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, ChooseStack))
        assert isinstance(app.screen, ChooseStack)
        assert {stack.path for stack in app.screen._stacks} == {named, other}


async def test_the_stack_is_named_after_what_a_wrapper_became() -> None:
    app = LaminaApp(Session())
    with subprocess.Popen(["sh", "-c", "read line; exec cat"], stdin=subprocess.PIPE) as wrapped:
        assert wrapped.stdin is not None
        async with app.run_test(size=(100, 30)):
            app.reader.aim(wrapped.pid)
            await until(lambda: app.session.stack_dir and app.session.stack_dir.name.startswith("sh-"))
            wrapped.stdin.write(b"\n")
            wrapped.stdin.flush()
            await until(lambda: app.session.stack_dir and app.session.stack_dir.name.startswith("cat-"))


def test_a_damaged_layer_is_in_the_list_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "inventory.img").write_bytes(b"junk")
    (tmp_path / "not-a-layer").mkdir()
    view = StackReader().read(tmp_path)
    assert [row.name for row in view.rows] == ["1"]
    assert not view.rows[0].restorable
    assert "inventory.img" in view.rows[0].why


def test_a_stack_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    view = StackReader().read(tmp_path / "none")
    assert view.rows == ()
    assert view.free > 0


def test_what_is_no_stack_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an archive")
    view = StackReader().judge(tmp_path / "notes.txt")
    assert view.rows == () and view.archive
    assert "notes.txt" in view.why
