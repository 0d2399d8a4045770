"""The memory of a program as one strip per group of areas, each cell as old as the layer that owns its newest page.

Glyphs and colours say the same, so that it reads without colour: `.` zero or never touched, `·` as in its file and in no layer,
`░` old, `▒` older than the parent, `▓` parent, `█` this layer, `*` dirty.
"""

from dataclasses import dataclass

from rich.text import Text
from textual.widget import Widget

from lamina.tui import units

AGE_COLOUR = {
    ".": "#4a5568", "·": "#4a5568", "░": "#3f6f9f", "▒": "#4f93bd", "▓": "#74bcd6", "█": "#c4eef5", "*": "#ffb454",
}  # fmt: skip
_NAME, _SIZE = 7, 10


@dataclass(frozen=True)
class StripLine:
    """One group of areas: its name, its size in bytes, one glyph per cell."""

    name: str
    size: int
    cells: str


@dataclass(frozen=True)
class StripView:
    """The memory as of one layer.

    Attributes:
        layer: its name.
        pages_per_cell: of the group with the largest cells.
    """

    layer: str
    lines: tuple[StripLine, ...]
    pages_per_cell: int = 1


class MemoryStrip(Widget):
    """The pane below the layers."""

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._view: StripView | None = None

    @property
    def cells(self) -> int:
        """How many cells a line has at the present width."""
        return max(8, self.size.width - _NAME - _SIZE - 4)

    def show(self, view: StripView | None) -> None:
        """Repaint for *view*."""
        self._view = view
        self.border_title = "memory" if view is None else f"memory as of layer {view.layer}, by age of page"
        self.border_subtitle = "" if view is None else f"1 cell = {units.pages(view.pages_per_cell)} pages"
        self.refresh()

    def render(self) -> Text:
        """One line per group, as many as there is room for, the legend last."""
        if self._view is None:
            return Text(" no layer chosen", style="dim")
        text = Text(no_wrap=True, overflow="ellipsis")
        room = self.size.height - 1
        for line in self._view.lines[:room]:
            text.append(f" {line.name:<{_NAME}}", style="dim")
            text.append_text(paint(line.cells))
            text.append(f"{units.size(line.size):>{_SIZE}}\n", style="dim")
        text.append(" ")
        for glyph, meaning in (("█", "this layer"), ("▓", "parent"), ("▒", "older"), ("░", "old"), (".", "zero or as in its file")):
            text.append(glyph, style=AGE_COLOUR[glyph])
            text.append(f" {meaning}  ", style="dim")
        return text


def paint(cells: str, width: int = 1) -> Text:
    """Glyphs in their colours, each *width* times."""
    text = Text()
    at = 0
    while at < len(cells):
        end = at
        while end < len(cells) and cells[end] == cells[at]:
            end += 1
        text.append(cells[at] * (end - at) * width, style=AGE_COLOUR[cells[at]])
        at = end
    return text
