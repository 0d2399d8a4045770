"""A key belongs to the place that is seen or that the keys before it have asked for, also if that comes late, or does not come."""

import threading
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session
from lamina.tui.model.target import Target, look_up
from lamina.tui.services import reader, type_ahead
from lamina.tui.widgets.filter_line import FilterLine
from tests.live.harness import Reaper, start_c
from tests.tui.typist import as_event
from tests.tui.waiting import until


def send(app: LaminaApp, *keys: str) -> None:
    for key in keys:
        app.post_message(as_event(key))


def noting_operations(app: LaminaApp, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of what is asked of the engine; dry runs are done."""
    operations: list[str] = []
    do = app.queue.do

    def noted(operation: Operation) -> bool:
        if operation.kind == "plan":
            return do(operation)
        operations.append(operation.title)
        return True

    monkeypatch.setattr(app.queue, "do", noted)
    return operations


LOST = "typed for something that did not open, so not taken: "


class Slow:
    """A dry run that takes as long as one likes, and its question."""

    def __init__(self, app: LaminaApp) -> None:
        self.may_end, self.answers, self._app = threading.Event(), list[str | None](), app
        self.operation = Operation("plan", "dry run of everything", lambda _work: self.may_end.wait(60), str, then=self._ask)

    def _ask(self, _found: object) -> None:
        self._app.push_screen(Confirm("All of it?", ["what goes"], [Choice("no", "No"), Choice("all", "All")]), self.answers.append)


def line(app: LaminaApp) -> str | None:
    return app.focused.value if isinstance(app.focused, Input) else None


async def test_what_was_typed_for_a_line_that_does_not_come_does_nothing(
    reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session())
    operations = noting_operations(app, monkeypatch)
    async with app.run_test(size=(100, 30)):
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target and app.type_ahead.settled)
        # There is no layer to be labelled, and no filter on this screen.
        for times, key in enumerate(("l", "slash"), 1):
            send(app, "3", key, *"dump it t", "enter", "d")
            await until(lambda: [entry.text for entry in app.notices.log].count(f"{LOST}dump it t<enter>d") == times)  # noqa: B023
            assert not operations and app.screen is app.stack
            send(app, "d")
            await until(lambda: operations)
            operations.clear()
        # Escape is where one is sure again.
        send(app, "l", *"dd", "escape", "d")
        await until(lambda: app.type_ahead.settled and operations)
        assert len(operations) == 1


async def test_a_question_that_comes_late_is_not_answered_by_what_is_typed_for_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_ahead, "PATIENCE_S", 0.4)
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.processes._list.rows and app.type_ahead.settled)
        slow = Slow(app)
        app.do(slow.operation)
        send(app, "right", "enter")
        await until(lambda: "keys wait for dry run of everything" in app.processes.key_bar._said)
        await until(lambda: any("not taken: <right><enter>" in entry.text for entry in app.notices.log))
        send(app, "slash", *"right")
        await until(lambda: line(app) == "right")
        slow.may_end.set()
        await until(lambda: any("comes when nothing is being typed" in entry.text for entry in app.notices.log))
        send(app, *"dd")
        await until(lambda: line(app) == "rightdd" and app.type_ahead.settled)
        assert not slow.answers and len(app.screen_stack) == 1
        send(app, "escape")
        await until(lambda: isinstance(app.screen, Confirm))
        # Nobody has read it yet.
        send(app, "enter")
        await until(lambda: any("not taken: <enter>" in entry.text for entry in app.notices.log))
        assert isinstance(app.screen, Confirm) and not slow.answers
        send(app, "right", "enter")
        await until(lambda: slow.answers == ["all"])


async def test_answers_wait_for_their_question_and_escape_takes_it_back() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.processes._list.rows and app.type_ahead.settled)
        slow = Slow(app)
        app.do(slow.operation)
        send(app, "right", "enter", "slash", *"dd")
        await until(lambda: "4 keys" in app.processes.key_bar._said or "5 keys" in app.processes.key_bar._said)
        slow.may_end.set()
        await until(lambda: slow.answers == ["all"] and line(app) == "dd")
        send(app, "escape")
        await until(lambda: line(app) is None and app.type_ahead.settled)
        slow = Slow(app)
        app.do(slow.operation)
        await until(lambda: "waiting for dry run" in app.processes.key_bar._said)
        send(app, "escape")
        await until(lambda: app.type_ahead.settled)
        slow.may_end.set()
        send(app, "slash", *"dd")
        await until(lambda: line(app) == "dd" and app.bridge.busy_with is None)
        assert not slow.answers and len(app.screen_stack) == 1


async def test_operations_are_about_the_process_that_was_chosen_however_long_it_is_looked_at(
    reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (start_c(reaper, tmp_path / name, "cells", 4) for name in ("first", "second"))
    may_end = threading.Event()
    may_end.set()

    def look(pid: int, stack: Path | None) -> Target:
        may_end.wait(60)
        return look_up(pid, stack)

    monkeypatch.setattr(reader, "look_up", look)
    app = LaminaApp(Session(tmp_path / "shots"))
    operations = noting_operations(app, monkeypatch)
    async with app.run_test(size=(100, 30)):
        app.reader.aim(first.pid)
        await until(lambda: app.session.target)
        may_end.clear()
        send(app, "1", "slash", *str(second.dir), "enter", "enter", "d", "3", "d")
        await until(lambda: f"wait for process {second.pid}" in app.screen_stack[0].key_bar._said)  # type: ignore[attr-defined]
        assert not operations
        may_end.set()
        await until(lambda: len(operations) == 2)
        assert operations == [f"dump of cells {second.pid}"] * 2


async def test_letters_behind_q_do_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    app = LaminaApp(Session())
    operations = noting_operations(app, monkeypatch)
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.processes._list.rows)
        send(app, *"qdt1/d")
        await until(lambda: app.type_ahead._closed)
    assert not operations and app.return_code == 0


async def test_pasted_text_and_letters_keep_their_order() -> None:
    app = LaminaApp(Session())
    typed: list[str] = []
    async with app.run_test(size=(100, 30)):
        send(app, "5", "1", "slash")
        for word in ("d", "tt", "q"):
            app.post_message(events.Paste(f"<{word}>"))
            send(app, *word)
        send(app, "enter", "5")
        await until(lambda: app.current_mode == "jobs" and app.type_ahead.settled)
        typed.append(app.processes.query_one(FilterLine)._input.value)
    assert typed == ["<d>d<tt>tt<q>q"]


@pytest.mark.parametrize("key", ["alt+d", "ctrl+j"])
async def test_escape_and_a_letter_in_one_and_enter_of_a_terminal_that_was_not_ours_yet(key: str) -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.processes._list.rows)
        send(app, "slash", *"dd")
        app.post_message(events.Key(key, "d" if key == "alt+d" else "\n"))
        send(app, "question_mark")
        await until(lambda: type(app.screen).__name__ == "HelpScreen")
        assert app.processes._known.filter is None if key == "alt+d" else app.processes._known.filter is not None
