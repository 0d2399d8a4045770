"""Whether everything that a key led to has been done: no message on its way, nothing half mounted, nothing still to be laid out.

Textual has no public way to ask. Its pilot, for tests, posts a callback to every widget and waits for all of them; with each key that would
cost more than the key itself. Here the queues are only looked at, some 20 µs for a screen.
"""

import asyncio
from typing import Any

from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from lamina.tui.textual_private import all_nodes, has_callbacks, is_ending, is_idle, is_layout_due

# The group of workers that are done before the next key: what a key of another screen, or a line after `:`, asked for.
ACTIONS = "action"
# A message leads to another one, that to a third: none of ours is farther from its key.
_PASSES = 6


def is_quiet(app: App[Any]) -> bool:
    """Whether nothing is on its way. Called on the event loop, in a task that is no message pump of *app*."""
    screens = app.screen_stack
    if not screens or not is_idle(app) or not _has_room(screens[-1]):
        return False
    if any(has_callbacks(screen) for screen in screens) or not all(is_idle(node) for node in all_nodes(screens)):
        return False
    return not any(worker.group == ACTIONS and not worker.is_finished for worker in app.workers)


async def let_all_pass(app: App[Any]) -> None:
    """Come back when each message pump has had its turn as often as messages may follow from a key, however many others there are.

    Where timers and reports ask for more than the processor gives there may never be a moment at which nothing is on its way.
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
    """Whether what has the focus was laid out, so that a page of it is a page; if it is laid out anew, that is not waited for."""
    focused = screen.focused
    return not is_layout_due(screen) or isinstance(focused, Input) or bool((focused or screen).size)
