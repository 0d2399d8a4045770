"""All that lamina uses of Textual's private parts: names that begin with an underscore, overridden or read. No other module touches one.

Each says why, and what was seen in Textual 8.2.8. A newer Textual may change any of them: `tests/tui/test_textual_private.py` fails for
those that are gone, and for a private name that is used elsewhere.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette
from textual.dom import DOMNode
from textual.events import Mount
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widgets import Input

SEEN_IN = "8.2.8"

# -- the app -------------------------------------------------------------------------------------------------------------------------


class OpenApp(App[None]):
    """An app whose subclasses may say what becomes of a key, and of an exception."""

    async def run_bindings(self, key: str, priority: bool = False) -> bool:
        """Run what *key* is bound to; whether it was bound. Called first with *priority*, and if that was not bound once more without."""
        return await super()._check_bindings(key, priority)

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        # All keys come by here, one after the other, and nothing public is told of a key that is bound to nothing.
        return await self.run_bindings(key, priority)

    def crashed(self, error: Exception) -> None:
        """The app is about to end because of *error*."""

    def crash(self, error: Exception) -> None:
        """End the app because of *error*, as for one in a handler of a message. Called by tasks of our own."""
        self._handle_exception(error)

    def _handle_exception(self, error: Exception) -> None:
        # Nothing public is told of it before the app ends.
        self.crashed(error)
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        # They are tracebacks with all local variables, which hold what is in the memory of programs.
        self._exit_renderables.clear()


def all_screens(app: App[Any]) -> list[Screen[Any]]:
    """The screens of all modes. `App.screen_stack` has only those of the current mode."""
    return [screen for stack in app._screen_stacks.values() for screen in stack]


def bound_actions(node: DOMNode, key: str) -> set[str]:
    """The actions that *node* itself binds to *key*, with the keys of the user's keymap; `DOMNode.BINDINGS` has only the usual ones."""
    return {binding.action for binding in node._bindings.key_to_bindings.get(key, ())}


def is_bound(screen: Screen[Any], key: str) -> bool:
    """Whether *key* is bound anywhere from the focus up. `Screen.active_bindings` leaves out what is disabled."""
    return any(bindings.key_to_bindings.get(key) for _, bindings in screen._modal_binding_chain)


# -- what is still to be done: read by `lamina.tui.services.quiet` ---------------------------------------------------------------------


def is_ending(pump: MessagePump) -> bool:
    """Whether *pump* takes no more messages."""
    return pump._closing or pump._closed


def is_idle(pump: MessagePump) -> bool:
    """Whether *pump* waits for a message, or has ended.

    It waits exactly if its queue has somebody who waits: the `_getters` of an `asyncio.Queue`, another private name. Counting what was
    handled does not do: newer messages replace older ones, which then count as unhandled for ever. Mounting goes on before the first wait.
    """
    if is_ending(pump):
        return True
    queue: asyncio.Queue[object] = pump._message_queue
    return pump._is_mounted and queue.empty() and bool(getattr(queue, "_getters", True))


def all_nodes(screens: Sequence[Screen[Any]]) -> Iterator[DOMNode]:
    """*screens* and all that is in them. `DOMNode.walk_children` builds lists, which costs more than a key does."""
    waiting: list[DOMNode] = list(screens)
    while waiting:
        node = waiting.pop()
        waiting.extend(node._nodes)
        yield node


def has_callbacks(screen: Screen[Any]) -> bool:
    """Whether *screen* is to call something after its next refresh (`call_after_refresh`)."""
    return bool(screen._callbacks)


def is_layout_due(screen: Screen[Any]) -> bool:
    """Whether *screen* is about to be laid out anew."""
    return screen._layout_required


# -- screens -------------------------------------------------------------------------------------------------------------------------


class QuickScreen(Screen[None]):
    """A screen that comes back at once: its styles are computed anew only if what they depend on has changed."""

    _style_state: tuple[object, ...] = ()

    @property
    def _css_update_count(self) -> int:
        # How many style sheets it has seen. We say all of them: for a screen that is behind, also for a new one, Textual reads all sheets
        # again. Frames subscribe to changes of the theme instead.
        return self.app._css_update_count

    @_css_update_count.setter
    def _css_update_count(self, count: int) -> None:
        pass  # Textual sets it when a screen comes back

    def update_node_styles(self, animate: bool = True) -> None:
        """Textual asks for this whenever a screen comes back. While what its styles depend on is as it was, no rule is tried anew."""
        state = (self.app.theme, self.app.pseudo_classes, self.app.classes, self.pseudo_classes, self.classes)
        if state != self._style_state:
            self._style_state = state
            super().update_node_styles(animate)


def is_on_top(screen: Screen[Any]) -> bool:
    """Whether *screen* is what is seen."""
    return screen.app.screen_stack[-1:] == [screen]


class ClosablePalette(CommandPalette):
    """Textual's palette, which keys typed ahead can close before it has opened, or twice."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close it, if it is what is shown just now. What is still searched for would be shown in a list that is gone."""
        self.workers.cancel_node(self)
        return super().dismiss(result) if is_on_top(self) else AwaitComplete()

    def on_mount(self, event: Mount) -> None:
        """It lists what the screen below it offers, and there is none if it was closed meanwhile."""
        if not is_on_top(self):
            event.prevent_default()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A letter that was typed before it closed, or the app ended, is read after that."""
        if not is_on_top(self) or not self.query(CommandList):
            event.prevent_default()

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):  # a page down in a list that has no lines yet
            super()._action_command_list(action)


def is_palette_searching(app: App[Any]) -> bool:
    """Whether the palette still collects what it is to list. Its workers are known by the name of their group only."""
    return not all(worker.is_finished for worker in app.workers if worker.group == CommandPalette._GATHER_COMMANDS_GROUP)


# -- keys ----------------------------------------------------------------------------------------------------------------------------


class SequenceParser(XTermParser):
    """Textual's parser of what a terminal sends, a private class."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for more of a sequence that it does not know."""
        return self._awaiting.timeout is not None
