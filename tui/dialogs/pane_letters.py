"""Jump mode: a letter on every pane; pressing it goes there."""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Offset
from textual.widget import Widget
from textual.widgets import Label

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import PANE_LETTER_KEYS


class PaneLetters(Question[Widget | None]):
    """Answers with a pane, None for Escape."""

    BINDINGS: ClassVar = PANE_LETTER_KEYS

    def __init__(self, panes: Sequence[Widget], alone: Widget | None) -> None:
        """Label *panes*. If one is shown *alone*, all are listed in its corner."""
        super().__init__()
        self._panes = dict(zip(ascii_lowercase, panes, strict=False))
        self._alone = alone

    def compose(self) -> ComposeResult:
        """The letters, where the panes are."""
        for number, (letter, pane) in enumerate(self._panes.items()):
            place = pane.region.offset.x + 2, pane.region.offset.y
            text = f" {letter} "
            if self._alone is not None:
                place = self._alone.region.x + 2, self._alone.region.y + number
                text += f"{Content.from_markup(pane.border_title or '').plain.split(' · ')[0]} "
            label = Label(text, classes="pane-letter", markup=False)
            label.absolute_offset = Offset(*place)
            yield label

    def on_key(self, event: events.Key) -> None:
        """A letter leads to its pane."""
        if (pane := self._panes.get(event.key)) is not None:
            event.stop()
            self.dismiss(pane)
