"""The memory of a program as one strip per group of areas, each cell as old as the layer that owns its newest page.

Glyphs and colours say the same, so that it reads without colour: `.` zero or never touched, `·` as in its file and in no layer,
`░` old, `▒` older than the parent, `▓` parent, `█` this layer, `*` dirty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text
from textual.widget import Widget

from lamina.tui.model import units
from lamina.tui.theme import QUIET, WARM

AGE_COLOUR = {
    ".": QUIET, "·": QUIET, "░": "#3f6f9f", "▒": "#4f93bd", "▓": "#74bcd6", "█": "#c4eef5", "*": WARM,
}  # fmt: skip
_NAME, _SIZE = 8, 10


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
    """

    layer: str
    lines: tuple[StripLine, ...]


class MemoryStrip(Widget):
    """The pane below the layers."""

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._view: StripView | None = None

    @property
    def cells(self) -> int:
        """How many cells a line has at the present width."""
        return max(8, self.size.width - _NAME - _SIZE - 2)

    def show(self, view: StripView | None) -> None:
        """Repaint for *view*."""
        self._view = view
        self.border_title = "memory" if view is None else f"memory as of layer {view.layer}, by age of page"
        self.refresh()

    def render(self) -> Text:
        """One line per group, as many as there is room for, the legend last."""
        if self._view is None:
            return Text(" no layer chosen", style="dim")
        text = Text(no_wrap=True, overflow="ellipsis")
        for line in largest(self._view.lines, self.size.height - 1):
            text.append(f" {line.name:<{_NAME}}", style="dim")
            text.append_text(paint(line.cells, self.app.no_color))
            text.append(f"{' ' * (self.cells - len(line.cells))}{units.size(line.size):>{_SIZE}}\n", style="dim")
        text.append(" ")
        for glyph, meaning in (("█", "this layer"), ("▓", "parent"), ("▒", "older"), ("░", "old"), (".", "zero or as in its file")):
            text.append_text(paint(glyph, self.app.no_color))
            text.append(f" {meaning}  ", style="dim")
        return text


def largest(lines: Sequence[StripLine], room: int) -> list[StripLine]:
    """As many of *lines* as there is room for, those with the most memory, in their own order."""
    kept = sorted(lines, key=lambda line: -line.size)[: max(0, room)]
    return [line for line in lines if line in kept]


def paint(cells: str, no_color: bool, width: int = 1) -> Text:
    """Glyphs in their colours, each *width* times. Colour alone tells the age of a full cell; without colour the shade does."""
    text = Text()
    for glyph, same in groupby(cells):
        shape = "█" if glyph in "░▒▓" and not no_color else glyph
        text.append(shape * len(list(same)) * width, style=AGE_COLOUR[glyph])
    return text
