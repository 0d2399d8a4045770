"""The part of the app that takes keys: one after the other, each when what the one before it led to is there (`type_ahead`)."""

from collections.abc import Mapping

from textual import events
from textual.app import ScreenStackError
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.types import ActionParseResult
from textual.widgets import Input

from lamina.tui.app.appearance import ThemedApp
from lamina.tui.app.type_ahead import TypeAhead, Typed
from lamina.tui.keys.base_screen import BaseScreen
from lamina.tui.model.settings import Settings
from lamina.tui.textual_private import bound_actions, is_bound, is_palette_searching

# What Alt with a letter means where one types; everywhere else it is Escape and that letter, which a terminal sends alike.
_EDITING = {"alt+f": "ctrl+right", "alt+b": "ctrl+left", "alt+backspace": "ctrl+w"}
# Keys of the app that may be about what is under the cursor.
_ABOUT_THE_CURSOR = {"show('target')", "show('stack')", "show('image')"}


class KeyboardApp(ThemedApp):
    """An app in which a key belongs to the place that is seen, or that the keys before it have asked for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.type_ahead = TypeAhead(self)
        self._unready: object = None

    async def on_mount(self) -> None:
        """From now on keys are let through; those that came before wait for the first screen."""
        self.type_ahead.start()

    async def on_unmount(self) -> None:
        """No more of them."""
        await self.type_ahead.stop()

    def exit(self, result: None = None, return_code: int = 0, message: object = None) -> None:
        """What is typed now is for nobody."""
        self.type_ahead.close()
        super().exit(result, return_code)

    async def on_event(self, event: events.Event) -> None:
        """What is typed waits for its turn. A key that is still on its way when the last screen has gone is for nobody."""
        try:
            if not isinstance(event, Typed) or event.is_forwarded or self.type_ahead.lets(event):
                await super().on_event(event)
        except ScreenStackError:
            if self.screen_stack:
                raise

    async def run_action(
        self,
        action: "str | ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run it, and remember whether it was to lead somewhere."""
        self.type_ahead.asks_for(action if isinstance(action, str) else action[1])
        done = await super().run_action(action, default_namespace, namespaces)
        if not done:
            self.type_ahead.asks_for_nothing()
        return done

    # -- what keys mean here -----------------------------------------------------------------------------------------------------------

    @property
    def program_has_keyboard(self) -> bool:
        """Whether a program in a terminal of ours reads what is typed."""
        return False

    @property
    def program_left_at(self) -> float:
        """Since when (time.monotonic) its terminal is shown without a program; 0.0 if one reads there, or something else is shown."""
        return 0.0

    def goes_to_program(self, event: Typed) -> bool:
        """Whether *event* is read by a program and changes nothing of ours."""
        return False

    def typed_apart(self, event: events.Key) -> list[events.Key]:
        """The keys that *event* stands for; none if it is one."""
        if self.program_has_keyboard:
            return []
        keys: list[events.Key] = []
        if event.key == "ctrl+j":
            keys = [events.Key("enter", "\r")]  # typed while the terminal still made a line feed of it
        elif event.key.startswith("alt+") and not is_bound(self.screen, event.key):
            if isinstance(self.focused, Input) and event.key in _EDITING:
                keys = [events.Key(_EDITING[event.key], None)]
            else:
                keys = [events.Key("escape", "\x1b"), _without_alt(event)]
        for key in keys:
            key.time = event.time
        return keys

    def ready_for(self, event: Typed) -> bool:
        """Whether *event* may be handled. A screen has first read what its keys are about, and the palette found what Enter takes."""
        screen, key = self.screen, event.key if isinstance(event, events.Key) else ""
        if self.takes_what_is_found(event):
            return not is_palette_searching(self)
        ours = bound_actions(self, key)
        anywhere = not key or key == "escape" or bool(ours - _ABOUT_THE_CURSOR)
        if anywhere or not isinstance(screen, BaseScreen) or isinstance(self.focused, Input):
            return True
        if not screen.is_ready_for(key):
            return screen is self._unready
        self._unready = None
        return True

    def takes_what_is_found(self, event: Typed) -> bool:
        """Whether it is for what the palette has found."""
        return isinstance(self.screen, CommandPalette) and not (isinstance(event, events.Key) and event.is_printable)

    def wait_no_more(self) -> None:
        """The screen takes too long to read: it has its keys without that."""
        self._unready = self.screen

    # -- what is shown -----------------------------------------------------------------------------------------------------------------

    def show_waiting(self, text: str) -> None:
        """What is typed waits, and for what; "": no longer."""


def _without_alt(event: events.Key) -> events.Key:
    key = event.key.removeprefix("alt+")
    letter = key.removeprefix("shift+")
    return events.Key(letter.upper() if key != letter else letter, event.character)
