"""One line to type what is looked for, and how it is meant."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from lamina.tui.read.searching import How

_HINTS = {
    How.TEXT: "text", How.REGEX: "a regular expression over bytes", How.HEX: "bytes in hexadecimal, ?? for any",
    How.NUMBER: "a whole number of 64 bits",
}  # fmt: skip


class FindBar(Horizontal):
    """Hidden until it is asked for."""

    BINDINGS = [
        Binding("ctrl+r", "mean('regex')", "regex", key_display="^r", priority=True),
        Binding("ctrl+x", "mean('hex')", "hex", key_display="^x", priority=True),
        Binding("ctrl+i", "mean('number')", "number", key_display="^i", priority=True),
        Binding("ctrl+t", "mean('text')", "text", key_display="^t", priority=True),
        Binding("escape", "leave", "back", show=False),
    ]

    @dataclass
    class Asked(Message):
        """Look for this."""

        typed: str
        how: How

    @dataclass
    class Left(Message):
        """Nothing is to be looked for any more."""

    def __init__(self) -> None:
        super().__init__(id="find-bar")
        self._how = How.TEXT
        self._label = Label("/")
        self._input = Input(placeholder=_HINTS[How.TEXT], compact=True)

    def compose(self) -> ComposeResult:
        """What is meant, and the line."""
        yield self._label
        yield self._input

    def on_mount(self) -> None:
        """Out of sight."""
        self.display = False

    def open(self) -> None:
        """Type now."""
        self.display = True
        # Not `focus`, which comes later than the next letter.
        self.screen.set_focus(self._input)

    def action_mean(self, how: str) -> None:
        """What is typed is text, a regular expression, bytes or a number."""
        self._how = How(how)
        self._label.update("/" if self._how is How.TEXT else f"{how} /")
        self._input.placeholder = _HINTS[self._how]

    def action_leave(self) -> None:
        """Away with it."""
        self.display = False
        self.post_message(self.Left())

    @on(Input.Submitted)
    def _asked(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value:
            self.post_message(self.Asked(event.value, self._how))
