"""The search line: what is searched for, how it is meant, and where."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from lamina.tui.keys.keymap import FIND_KEYS
from lamina.tui.read.searching import Asked, How, Where

_HINTS = {
    How.TEXT: "text", How.REGEX: "a regular expression over bytes", How.HEX: "bytes in hexadecimal, ?? for any",
    How.INT64: "a whole number of 64 bits; ^i again: 32 bits, a double", How.INT32: "a whole number of 32 bits", How.FLOAT: "a double",
}  # fmt: skip
_NUMBERS = (How.INT64, How.INT32, How.FLOAT)


class FindBar(Horizontal):
    """Hidden until it is asked for."""

    BINDINGS = FIND_KEYS

    @dataclass
    class Wanted(Message):
        """Search for this."""

        asked: Asked

    @dataclass
    class Left(Message):
        """The search line was left."""

    def __init__(self) -> None:
        super().__init__(id="find-bar")
        self._how = How.TEXT
        self._where = Where.EVERYWHERE
        self._label = Label()
        self._input = Input(compact=True)

    def compose(self) -> ComposeResult:
        """What is meant, and the line."""
        yield self._label
        yield self._input

    def on_mount(self) -> None:
        """Out of sight."""
        self.display = False
        self._describe()

    def open(self) -> None:
        """Type now."""
        self.display = True
        # Not `focus`, which comes later than the next letter.
        self.screen.set_focus(self._input)

    def action_mean(self, how: str) -> None:
        """Switch between text, regular expression, bytes and the kinds of numbers."""
        if how == "number":
            self._how = _NUMBERS[(_NUMBERS.index(self._how) + 1) % len(_NUMBERS)] if self._how in _NUMBERS else _NUMBERS[0]
        else:
            self._how = How(how)
        self._describe()

    def action_where(self) -> None:
        """Search only in one kind of area, or in the one that the cursor is in, or everywhere again."""
        kinds = list(Where)
        self._where = kinds[(kinds.index(self._where) + 1) % len(kinds)]
        self._describe()

    def _describe(self) -> None:
        words = "" if self._how is How.TEXT else f"{self._how.value} "
        words += "" if self._where is Where.EVERYWHERE else f"in {self._where.value} "
        self._label.update(f"{words}/")
        self._input.placeholder = f"{_HINTS[self._how]} · ^r regex ^x hex ^i number ^a area"

    def action_leave(self) -> None:
        """Away with it."""
        self.display = False
        self.post_message(self.Left())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value:
            self.post_message(self.Wanted(Asked(event.value, self._how, self._where)))
