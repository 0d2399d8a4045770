"""Waiting for the app to come to a state, while it goes on in the same event loop."""

import asyncio
import time
from collections.abc import Callable

from tests.live.harness import PATIENCE_S


async def until(reached: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Let the app work until *reached*. Unlike `Pilot.pause` it does not wait for the app to be idle, which under work it never is."""
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline, "the app does not come to that state"
        await asyncio.sleep(0.005)
