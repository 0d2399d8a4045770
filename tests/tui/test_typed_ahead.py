"""Keys that come before what the last one led to is there: nothing is answered twice, nothing closes but what was meant."""

import math
import os

import pytest
from textual import events
from textual.command import CommandList

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model.session import Session
from lamina.tui.services import type_ahead as typing
from tests.tui.waiting import type_ahead, until


def send(app: LaminaApp, *keys: str) -> None:
    for key in keys:
        app.post_message(events.Key(key, None))


async def test_what_is_asked_is_answered_once() -> None:
    app = LaminaApp(Session(readonly=True))
    answers: list[str | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(2):
            app.push_screen(Confirm("End it?", ["what ends"], [Choice("keep", "Keep"), Choice("end", "End", danger=True)]), answers.append)
        await until(lambda: app.focused and app.focused.id == "answer-keep")
        dialog = app.screen
        send(app, "enter", "enter", "enter")
        await until(lambda: app.screen is not dialog)
        send(app, "escape")
        await until(lambda: len(answers) == 2)
        await until(lambda: len(app.screen_stack) == 1)
        assert answers[0] == "keep"
        # The palette is gone from before it has opened, and back.
        app.action_command_palette()
        app.action_show("jobs")
        await until(lambda: app.screen is app.jobs)
        send(app, "1")
        await until(lambda: app.screen is app.processes)
        assert len(app.screen_stack) == 1
        send(app, "ctrl+p")
        await until(lambda: len(app.screen_stack) == 2)
        type_ahead(app, "jobs")
        await until(lambda: app.screen.query(CommandList) and app.screen.query_one(CommandList).option_count)
        app.screen.query_one(CommandList).clear_options()
        send(app, "pagedown")
        type_ahead(app, " ")
        await until(lambda: app.screen.query_one(CommandList).option_count)
        send(app, "enter", "enter", "enter", "escape")
        await until(lambda: len(app.screen_stack) == 1 and not app.message_queue_size)
        await pilot.pause()
    assert not app.leaving.last_words


async def test_a_look_that_a_newer_one_takes_the_place_of_holds_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that had no turn yet: keys waited for it as long as they wait for anything."""
    monkeypatch.setattr(typing, "PATIENCE_S", math.inf)
    app = LaminaApp(Session(readonly=True))
    async with app.run_test(size=(80, 24)):
        await until(lambda: app.type_ahead.settled)
        for _ in range(2):
            app.reader.aim(os.getpid())
        await until(lambda: app.type_ahead.settled)
        assert app.session.target and app.session.target.pid == os.getpid()
        send(app, "5")
        await until(lambda: app.screen is app.jobs)


async def test_what_is_still_to_be_read_is_not_said_again() -> None:
    app = LaminaApp(Session(readonly=True))
    async with app.run_test(size=(80, 24)):
        for text in ("no space", "no space", "another thing", "no space"):
            app.notify(text, severity="error")
        await until(lambda: len(app._notifications) == 2)
        assert [entry.text for entry in app.notices.log].count("no space") == 3


async def test_a_key_that_comes_when_no_screen_is_left_is_for_nobody() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(80, 24)):
        screens = app._screen_stack.copy()
        app._screen_stack.clear()
        try:
            await app.on_event(events.Key("x", "x"))
        finally:
            app._screen_stack.extend(screens)
