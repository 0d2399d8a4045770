"""How the app looks: themes, colours of texts, and terminals with few colours or none, or with ASCII only."""

import os
import re
import sys
from collections.abc import Mapping, Sequence

from rich.segment import Segment
from textual import on
from textual.color import Color
from textual.command import Command, CommandPalette
from textual.filter import ANSIToTruecolor, LineFilter, Monochrome, NoColor
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Static

from lamina.tui import theme as themes
from lamina.tui.app.driver import TerminalDriver
from lamina.tui.model.glyphs import ascii_only, to_ascii
from lamina.tui.model.session import Session
from lamina.tui.services.base_app import BaseApp
from lamina.tui.textual_private import all_screens

_REST_S = 0.2


# What controls a terminal or changes the direction of text: C0 and C1 controls, line separators, marks of direction. 0 cells in Textual.
_OBEYED = re.compile("[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Surrogates, which Python uses for bytes of file names that are not UTF-8; 1 cell.
_HALVES = re.compile("[\ud800-\udfff]")


class Harmless(LineFilter):
    """Removes what would move the cursor or set a title from the names of processes, files, labels and layers."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, of the same width; the same list if there is nothing to remove, as nearly always."""
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [Segment(_HALVES.sub("\ufffd", _OBEYED.sub("", text)), style, control) for text, style, control in segments]


class Ascii(LineFilter):
    """Writes everything in ASCII, including frames and names of files."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, glyphs replaced by signs of the same width."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


def fitting_theme(environ: Mapping[str, str]) -> str:
    """The theme for a terminal that *environ* describes: of 16 colours if it does not say that it has more."""
    term = environ.get("TERM", "")
    many = environ.get("COLORTERM") in ("truecolor", "24bit") or any(word in term for word in ("256", "direct", "kitty", "alacritty"))
    return themes.DARK.name if many and not environ.get("NO_COLOR") else themes.ANSI.name


class ThemedApp(BaseApp):
    """An app with lamina's themes.

    Attributes:
        ascii: whether only ASCII is written.
    """

    # For dialogs; the screens have their own.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]

    def __init__(self, session: Session) -> None:
        super().__init__(session, TerminalDriver)
        settings = session.settings
        # To Textual an empty NO_COLOR also means no colours.
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self.ascii = ascii_only(os.environ, bool(sys.flags.utf8_mode)) if settings.ascii is None else settings.ascii
        self._own_filters = [Harmless(), *([NoColor()] if self.no_color else []), *([Ascii()] if self.ascii else [])]
        self._inked, self._theme_kept = False, ""
        self._trying: Timer | None = None
        for found in themes.THEMES.values():
            self.register_theme(found)
        self.theme = settings.theme or fitting_theme(os.environ)
        self._ink()
        if settings.keys:
            self.set_keymap(dict(settings.keys))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters and lamina's. Without colours some of Textual's are left out, which would still make greys."""
        theirs = super().get_line_filters()
        if self.no_color:
            theirs = [it for it in theirs if not isinstance(it, ANSIToTruecolor | Monochrome | NoColor)]
        return [*theirs, *self._own_filters]

    def get_css_variables(self) -> dict[str, str]:
        """Textual's variables, and a colour for every meaning."""
        return {**super().get_css_variables(), **themes.meanings(self.current_theme)}

    def validate_theme(self, name: str) -> str:
        """Without colours there is only one theme."""
        return themes.ANSI.name if self.no_color else name

    def watch_theme(self, _name: str) -> None:
        """Look the colours up anew: texts have them by name."""
        self._ink()

    async def on_mount(self) -> None:
        """Follow the theme once its style sheet is in force."""
        self.theme_changed_signal.subscribe(self, self._repaint)

    # A theme is shown while the cursor of the palette rests on it.

    @on(CommandPalette.Opened)
    def _keep_theme(self) -> None:
        self._theme_kept = self.theme

    @on(CommandPalette.OptionHighlighted)
    def _try_on(self, event: CommandPalette.OptionHighlighted) -> None:
        option = event.highlighted_event.option
        kind, _, name = str(option.hit.text or "").partition(" ") if isinstance(option, Command) else ("", "", "")
        wanted = name if kind == "theme" and name in self.available_themes else self._theme_kept
        if self._trying is not None:
            self._trying.stop()
        self._trying = self.set_timer(_REST_S, lambda: self._wear(wanted))

    @on(CommandPalette.Closed)
    def _take_off(self, event: CommandPalette.Closed) -> None:
        if self._trying is not None:
            self._trying.stop()
        if not event.option_selected:
            self._wear(self._theme_kept)

    def _wear(self, theme: str) -> None:
        self.theme = theme

    def _ink(self) -> None:
        if self._inked:
            self.console.pop_theme()
        self.console.push_theme(themes.inks(themes.meanings(self.current_theme)))
        self._inked = True

    def _repaint(self, _theme: Theme) -> None:
        with self.batch_update():
            for screen in all_screens(self):
                for text in screen.query(Static):
                    text.update(text.content, layout=False)
                screen.refresh()
