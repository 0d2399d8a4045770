"""The line under the processes in which a filter is typed."""

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from lamina.tui.keys.keymap import FILTER_KEYS
from lamina.tui.model.process_filter import Filter, parse_filter


class FilterLine(Horizontal):
    """Shown while a filter is typed, with what is wrong with it."""

    BINDINGS: ClassVar = FILTER_KEYS

    @dataclass
    class Typed(Message):
        """The filter has changed; None if there is none."""

        wanted: Filter | None

    class Left(Message):
        """Enter: the filter stays, the line goes."""

    def __init__(self) -> None:
        super().__init__(id="filter-line")
        self._input = Input(
            placeholder="name, command line or pid · regex · ! all others · -f letters in this order", id="filter", compact=True
        )
        self._problem = Label(id="filter-problem", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        """One line."""
        yield Label("/")
        yield self._input
        yield self._problem

    def open(self) -> None:
        """Type on."""
        self.display = True
        # Not `focus`, which comes later than the next letter.
        self.screen.set_focus(self._input)

    def clear(self) -> None:
        """Empty the line and hide it."""
        self._input.value = ""

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        wanted = parse_filter(event.value)
        self._problem.update(wanted.problem if wanted is not None else "")
        self._problem.display = bool(wanted is not None and wanted.problem)
        self.post_message(self.Typed(wanted))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Left())
