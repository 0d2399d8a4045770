"""Waiting for the app to come to a state, while it goes on in the same event loop."""

import asyncio
import time
from collections.abc import Callable

from textual import events
from textual.app import App
from textual.keys import _character_to_key

from tests.live.harness import PATIENCE_S


def type_ahead(app: App[None], text: str) -> None:
    """Letters as a fast typist sends them, none waiting for what the one before it led to; "\\r" is Enter."""
    for letter in text:
        app.post_message(events.Key("enter" if letter == "\r" else _character_to_key(letter), letter))


async def until(reached: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Let the app work until *reached*. Unlike `Pilot.pause` it does not wait for the app to be idle, which under work it never is."""
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline, "the app does not come to that state"
        await asyncio.sleep(0.005)
