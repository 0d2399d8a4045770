"""The layers of the program in the terminal, as dots on a time line: the newest at the top, branches at the side."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow

# Lines above the first layer: the program now, and the line down to its layer.
_HEAD = 2


class TerminalRail(Widget):
    """Dots, one of which is chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rail--line", "rail--layer", "rail--stands", "rail--chosen", "rail--quiet", "rail--dirty"}
    ALLOW_SELECT = False

    class Chosen(Message):
        """A dot was clicked."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[LayerRow] = ()
        self._chosen: Path | None = None
        # To be chosen once it is read.
        self._wanted: Path | None = None
        self._stands: Path | None = None
        self._dirty = -1
        self._ended = False

    @property
    def row(self) -> LayerRow | None:
        """The chosen layer."""
        return next((row for row in self._rows if row.path == self._chosen), None)

    @property
    def rows(self) -> Sequence[LayerRow]:
        """All of them, newest first."""
        return self._rows

    def show(self, rows: Sequence[LayerRow], stands: Path | None, dirty: int = -1, ended: bool = False) -> None:
        """Show *rows*, newest first. The program is on layer *stands* and has written *dirty* pages since (-1: not known), or has *ended*.

        When it gets to another layer, that one is chosen.
        """
        before = {row.path for row in self._rows}
        if stands is not None and stands != self._stands:
            self._wanted = stands
        elif ended and before and rows and rows[0].path not in before:
            self._wanted = rows[0].path  # that of its last dump, which ended it
        self._rows, self._stands, self._dirty, self._ended = rows, stands, dirty, ended
        known = {row.path for row in rows}
        if self._wanted in known:
            self._chosen, self._wanted = self._wanted, None
        elif self._chosen not in known:
            self._chosen = rows[0].path if rows else None
        self.refresh()

    def choose(self, row: LayerRow) -> None:
        """Choose *row*."""
        self._chosen = row.path
        self.refresh()

    def move(self, by: int) -> None:
        """Choose another layer: -1 the newer one above, 1 the older one below."""
        at = next((at for at, row in enumerate(self._rows) if row.path == self._chosen), None)
        if at is not None:
            self.choose(self._rows[max(0, min(len(self._rows) - 1, at + by))])

    def on_click(self, event: events.Click) -> None:
        """A click on a dot chooses it."""
        at = event.y - _HEAD + self._first
        if event.y >= _HEAD and at < len(self._rows):
            self.choose(self._rows[at])
            self.post_message(self.Chosen())

    @property
    def _first(self) -> int:
        """The first layer that is visible: the chosen one always is."""
        room = max(1, self.size.height - _HEAD)
        at = next((at for at, row in enumerate(self._rows) if row.path == self._chosen), 0)
        return max(0, min(at - room // 2, len(self._rows) - room))

    def render_line(self, y: int) -> Strip:
        """Line *y*: now, then a layer each."""
        width = self.size.width
        at = y - _HEAD + self._first
        if y == 0:
            segments = self._now()
        elif y < _HEAD:
            segments = [Segment("  │" if self._rows else "", self._style("line"))]
        elif at < len(self._rows):
            segments = self._layer(self._rows[at], width)
        else:
            segments = []
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _now(self) -> list[Segment]:
        if self._dirty > 0:
            return [Segment(f"  * now +{units.pages(self._dirty)} p", self._style("dirty"))]
        words = "ended" if self._ended else "now" if self._rows else "no layer yet"
        return [Segment("  ○ ", self._style("line")), Segment(words, self._style("quiet"))]

    def _layer(self, row: LayerRow, width: int) -> list[Segment]:
        chosen, stands = row.path == self._chosen, row.path == self._stands
        kind = "chosen" if chosen else "stands" if stands else "layer" if row.restorable else "quiet"
        name = row.label or row.name
        when = time.strftime("%H:%M:%S" if width >= 20 else "%H:%M", time.localtime(row.time)) if row.time else ""
        mark = " ✗" if not row.restorable else " ◂" if stands else ""
        lane = f"{row.lane.rstrip() or '●'} "
        room = width - len(lane) - len(mark) - 2
        if len(when) + 2 <= room - min(len(name), 8):
            room -= len(when) + 2
        else:
            when = ""
        name = name if len(name) <= room else name[: max(0, room - 1)] + "…"
        fill = max(0, width - 2 - len(lane) - len(name) - len(mark) - len(when) - 1)
        return [
            Segment("▸ " if chosen else "  ", self._style(kind)),
            Segment(lane, self._style("line") + Style(bgcolor=self._style(kind).bgcolor)),
            Segment(name + mark, self._style(kind)),
            Segment(" " * fill, self._style(kind)),
            Segment(when, self._style("chosen" if chosen else "quiet")),
        ]

    def _style(self, kind: str) -> Style:
        return self.get_component_rich_style(f"rail--{kind}")
