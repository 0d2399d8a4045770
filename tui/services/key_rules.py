"""What a key means where it is typed: whose it is, what it stands for, and whether what it is about was read already."""

from collections.abc import Callable
from typing import Any, Protocol

from textual import events
from textual.app import App
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input

from lamina.tui.services.base_screen import BaseScreen
from lamina.tui.terminal.prefix import Whose
from lamina.tui.textual_private import bound_actions, is_bound, is_palette_searching

Typed = events.InputEvent | events.Paste

# What Alt with a letter means where one types; everywhere else it is Escape and that letter, which a terminal sends alike.
_EDITING = {"alt+f": "ctrl+right", "alt+b": "ctrl+left", "alt+backspace": "ctrl+w"}
# Keys of the app that may be about what is under the cursor.
_ABOUT_THE_CURSOR = {"show('target')", "show('stack')", "show('image')"}


class ProgramScreen(Protocol):
    """The screen that shows programs in terminals.

    Attributes:
        left_at: since when (time.monotonic) no program reads there; 0.0 while one does.
    """

    left_at: float

    @property
    def takes_keys(self) -> bool:
        """Whether a program has the keyboard, or one that is on its way will have it."""

    @property
    def size_inside(self) -> tuple[int, int]:
        """Columns and lines of the program's window."""

    def is_for_program(self, key: str) -> bool:
        """Whether the program reads *key*, pressed now; nothing changes by asking."""

    def whose_key(self, key: str) -> Whose:
        """Who gets *key*; shows what the prefix offers once it was pressed."""

    def unknown_key(self, key: str) -> None:
        """After the prefix came a *key* that means nothing here."""

    def make_room(self) -> None:
        """A program is on its way here."""

    def show_terminal(self) -> None:
        """Show the chosen terminal, and make its program the target."""

    def call_after_refresh(self, callback: Callable[[], object]) -> bool:
        """Call *callback* once the screen is laid out."""


class KeyRules:
    """The rules for one app. *programs* is asked for only once a key was typed: it makes the screen, which takes a while."""

    def __init__(self, app: App[Any], programs: Callable[[], ProgramScreen]) -> None:
        self._app = app
        self._programs = programs
        # The screen that gets its keys without having read what they are about.
        self._unready: Screen[Any] | None = None

    # -- keys for a program ----------------------------------------------------------------------------------------------------------

    def _shown(self) -> ProgramScreen | None:
        if self._app.current_mode != "terminal":
            return None
        programs = self._programs()
        shown: object = self._app.screen
        return programs if shown is programs else None

    @property
    def program_has_keyboard(self) -> bool:
        """Whether a program reads what is typed, or one that is on its way will."""
        shown = self._shown()
        return shown is not None and shown.takes_keys

    @property
    def program_left_at(self) -> float:
        """Since when (time.monotonic) the terminal is shown without a program; 0.0 if one reads there, or something else is shown."""
        shown = self._shown()
        return shown.left_at if shown is not None else 0.0

    def goes_to_program(self, event: Typed) -> bool:
        """Whether a program reads *event*, which then changes nothing of ours. A key behind the prefix is ours, and so is the mouse."""
        shown = self._shown()
        if shown is None or not shown.takes_keys:
            return False
        return isinstance(event, events.Paste) or (isinstance(event, events.Key) and shown.is_for_program(event.key))

    # -- keys for us -----------------------------------------------------------------------------------------------------------------

    def typed_apart(self, event: events.Key) -> list[events.Key]:
        """The keys that *event* stands for; none if it is one."""
        if self.program_has_keyboard:
            return []
        keys: list[events.Key] = []
        if event.key == "ctrl+j":
            keys = [events.Key("enter", "\r")]  # typed while the terminal still made a line feed of it
        elif event.key.startswith("alt+") and not is_bound(self._app.screen, event.key):
            if isinstance(self._app.focused, Input) and event.key in _EDITING:
                keys = [events.Key(_EDITING[event.key], None)]
            else:
                keys = [events.Key("escape", "\x1b"), _without_alt(event)]
        for key in keys:
            key.time = event.time
        return keys

    def ready_for(self, event: Typed) -> bool:
        """Whether *event* may be handled. A screen has first read what its keys are about, and the palette found what Enter takes."""
        screen, key = self._app.screen, event.key if isinstance(event, events.Key) else ""
        if self.takes_what_is_found(event):
            return not is_palette_searching(self._app)
        anywhere = not key or key == "escape" or bool(bound_actions(self._app, key) - _ABOUT_THE_CURSOR)
        if anywhere or not isinstance(screen, BaseScreen) or isinstance(self._app.focused, Input):
            return True
        if not screen.is_ready_for(key):
            return screen is self._unready
        self._unready = None
        return True

    def takes_what_is_found(self, event: Typed) -> bool:
        """Whether it is for what the palette has found."""
        return isinstance(self._app.screen, CommandPalette) and not (isinstance(event, events.Key) and event.is_printable)

    def wait_no_more(self) -> None:
        """The screen takes too long to read: it gets its keys all the same."""
        self._unready = self._app.screen


def _without_alt(event: events.Key) -> events.Key:
    key = event.key.removeprefix("alt+")
    letter = key.removeprefix("shift+")
    return events.Key(letter.upper() if key != letter else letter, event.character)
