"""The log in its frame: which levels it shows, and the line to search in it."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label

from lamina.tui.keys.keymap import LOG_PANE_KEYS, SEARCH_LINE_KEYS
from lamina.tui.model.log import Level, Log
from lamina.tui.widgets.log_view import LogView


class SearchLine(Horizontal):
    """Hidden until it is asked for."""

    BINDINGS: ClassVar = SEARCH_LINE_KEYS

    def __init__(self) -> None:
        super().__init__(id="log-search")
        self.input = Input(placeholder="what to look for; Enter keeps it, n and N go to the next", compact=True)
        self.display = False

    def compose(self) -> ComposeResult:
        """A sign and the line."""
        yield Label("/")
        yield self.input

    def open(self) -> None:
        """Type now."""
        self.display = True
        # Not `focus`, which comes later than the next letter.
        self.screen.set_focus(self.input)

    def action_leave(self) -> None:
        """Hide the line, and search no more."""
        self.input.value = ""
        self.input.post_message(Input.Submitted(self.input, ""))


class LogPane(Vertical):
    """The log, what of it is shown, and its search."""

    BINDINGS = LOG_PANE_KEYS

    class PagerAsked(Message):
        """The user wants to read the entries in a pager."""

    def __init__(self, log: Log) -> None:
        super().__init__(classes="pane", id="log-pane")
        self._log = log
        self.view = LogView(log)
        self._search = SearchLine()
        self.border_title = "log"

    def compose(self) -> ComposeResult:
        """Log above, search below."""
        yield self.view
        yield self._search

    def action_search(self) -> None:
        """Search in the log."""
        self._search.open()

    @on(LogView.Changed)
    def _describe(self) -> None:
        view = self.view
        parts = [
            "all levels" if view.level == Level.DEBUG else f"{view.level.word} and up",
            f"{len(view.entries):,} of {len(self._log):,}",
        ]
        if self._log.gone:
            parts.append(f"{self._log.gone:,} older ones are gone")
        if view.needle:
            hits = view.hits
            place = f"{hits.index(view.at) + 1} of " if view.at in hits else ""
            parts.append(f"/{view.needle}: {place}{len(hits)} hit{'' if len(hits) == 1 else 's'}")
        parts.append("follows what comes" if view.follows else "stays; . follows")
        self.border_subtitle = Content(" · ".join(parts))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.view.find(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._search.display = False
        self.screen.set_focus(self.view)

    def action_open(self) -> None:
        """Read it with the user's pager."""
        self.post_message(self.PagerAsked())

    def action_clear(self) -> None:
        """Search no more; without a search, go back to the processes."""
        if self.view.needle:
            self._search.input.value = ""
            self.view.find("")
        else:
            self.app.call_later(self.app.run_action, "show('processes')")
