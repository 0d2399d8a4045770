"""Whether everything that a key led to has been done: no message is on its way, nothing is half mounted or still to be laid out.

Textual has no public way to ask. Its pilot, for tests, posts a callback to every widget and waits for all of them, which would cost more
than the key itself. Here the queues are only inspected, some 20 µs for a screen.
"""

import asyncio
from typing import Any

from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from lamina.tui.textual_private import all_nodes, has_callbacks, is_ending, is_idle, is_layout_due

# The group of workers that are done before the next key: what a key of another screen, or a line after `:`, asked for.
ACTIONS = "action"
# A message leads to another one, and that to a third. None of ours is more steps away from its key.
_PASSES = 6


def is_quiet(app: App[Any]) -> bool:
    """Whether everything has been done. Called on the event loop, in a task that is no message pump of *app*."""
    screens = app.screen_stack
    if not screens or not is_idle(app) or not _has_room(screens[-1]):
        return False
    if any(has_callbacks(screen) for screen in screens) or not all(is_idle(node) for node in all_nodes(screens)):
        return False
    return not any(worker.group == ACTIONS and not worker.is_finished for worker in app.workers)


async def let_all_pass(app: App[Any]) -> None:
    """Return when each message pump has had as many turns as a key may need, however many other messages there are.

    If timers and reports ask for more than the processor can do, there may never be a moment at which everything has been done.
    """
    for _ in range(_PASSES):
        turns = []
        for pump in (app, *all_nodes(app.screen_stack)):
            done = asyncio.Event()
            if pump.call_later(done.set):
                turns.append((pump, done))
        for pump, done in turns:
            while not done.is_set() and not is_ending(pump):
                await asyncio.sleep(0)
        while any(worker.group == ACTIONS and not worker.is_finished for worker in app.workers):
            await asyncio.sleep(0.001)


def _has_room(screen: Screen[Any]) -> bool:
    """Whether the focused widget was laid out once, so that Page Down knows how far to go. A further layout is not waited for."""
    focused = screen.focused
    return not is_layout_due(screen) or isinstance(focused, Input) or bool((focused or screen).size)
