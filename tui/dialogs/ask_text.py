"""Asks for one line, as an address or a label. What is wrong with it is shown while it is typed."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import FORM_KEYS
from lamina.tui.theme import DANGER


class AskText(Question[str | None]):
    """Answers with the line, None for Escape."""

    BINDINGS: ClassVar = FORM_KEYS

    def __init__(self, title: str, hint: str, value: str = "", wrong: Callable[[str], str] | None = None) -> None:
        """Ask under *title*; *hint* is shown while nothing is typed; *wrong* says in words what is wrong with a line, "" if nothing is."""
        super().__init__()
        self._title = title
        self._wrong = wrong or (lambda _line: "")
        self._input = Input(value, placeholder=hint, compact=True)
        self._why = Static(id="command")

    def compose(self) -> ComposeResult:
        """A box with one line."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(self._title)  # names in it are no markup
            box.border_subtitle = "Enter go · Esc back"
            yield self._input
            yield self._why

    def on_mount(self) -> None:
        """Type at once."""
        self._input.focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._why.update(Text(self._wrong(event.value) if event.value else "", style=DANGER))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if not self._wrong(event.value):
            self.dismiss(event.value)
