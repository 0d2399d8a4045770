"""The part of the app that looks are about: themes, colours of texts, and terminals with few colours or none."""

import os
from collections.abc import Mapping

from textual.app import App
from textual.filter import LineFilter, NoColor
from textual.theme import Theme
from textual.widgets import Static

from lamina.tui import theme as themes


def fitting_theme(environ: Mapping[str, str]) -> str:
    """The theme for a terminal as *environ* describes it: only 16 colours where it does not say that it has more."""
    term = environ.get("TERM", "")
    many = environ.get("COLORTERM") in ("truecolor", "24bit") or any(word in term for word in ("256", "direct", "kitty", "alacritty"))
    return themes.DARK.name if many and not environ.get("NO_COLOR") else themes.ANSI.name


def is_shaded(app: App[object]) -> bool:
    """Whether shades of one colour cannot be told apart, so that glyphs must tell."""
    return app.no_color or app.native_ansi_color


class LookingGood(App[None]):
    """An app with lamina's themes."""

    def __init__(self) -> None:
        super().__init__()
        self._inked = False
        for found in themes.THEMES.values():
            self.register_theme(found)
        # Textual takes an empty NO_COLOR for a wish too, and its grey is a colour.
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self._filters: list[LineFilter] = [kept for kept in self._filters if type(kept).__name__ != "Monochrome"]
        if self.no_color and not any(isinstance(kept, NoColor) for kept in self._filters):
            self._filters.append(NoColor())
        self.theme = fitting_theme(os.environ)
        self._ink()

    def get_css_variables(self) -> dict[str, str]:
        """Textual's variables, and a colour for every meaning."""
        return {**super().get_css_variables(), **themes.meanings(self.current_theme)}

    def watch_theme(self, _name: str) -> None:
        """Texts hold their colours by name: they are looked up anew."""
        self._ink()

    async def on_mount(self) -> None:
        """Follow the theme once its style sheet is in force."""
        self.theme_changed_signal.subscribe(self, self._repaint)

    def _ink(self) -> None:
        if self._inked:
            self.console.pop_theme()
        self.console.push_theme(themes.inks(themes.meanings(self.current_theme)))
        self._inked = True

    def _repaint(self, _theme: Theme) -> None:
        for stack in self._screen_stacks.values():
            for screen in stack:
                for text in screen.query(Static):
                    text.update(text.content)
                screen.refresh(layout=True)
