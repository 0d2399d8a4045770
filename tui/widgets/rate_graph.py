"""Dirty pages per second over the last minutes: one column per second, the newest on the right, and a mark for each layer taken."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from lamina.tui.model import units
from lamina.tui.model.dirty_pages import Dirty

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LAYER, _LINE = "┴", "─"


class RateGraph(Widget):
    """The pane below the map."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rate--bar", "rate--axis", "rate--layer"}

    def __init__(self) -> None:
        super().__init__(classes="pane", id="rate")
        self.border_title = "dirty pages a second"
        self._dirty: Dirty | None = None
        self._why = ""

    def show(self, dirty: Dirty | None, why_not: str = "") -> None:
        """Show it; if there is nothing, *why_not* says why."""
        self._dirty, self._why = dirty, why_not
        rates = dirty.per_second if dirty is not None else ()
        now = f" · {units.count(rates[-1])} now, {units.count(max(rates))} at most" if rates else ""
        self.border_title = f"dirty pages a second{now}"
        self.border_subtitle = f"{units.duration(len(rates) * 1e6)} · {_LAYER} a layer was taken" if any(self._anew) else ""
        self.refresh()

    @property
    def _anew(self) -> Sequence[bool]:
        return self._dirty.anew if self._dirty is not None else ()

    def render_line(self, y: int) -> Strip:
        """Line *y*: bars, and below them the line of time."""
        width, height = self.size.width, self.size.height
        rates = self._dirty.per_second[-width:] if self._dirty is not None else ()
        if not rates:
            text = f" {self._why}" if y == 0 else ""
            return Strip([Segment(text, self._style("axis"))]).adjust_cell_length(width, self.rich_style)
        pad = " " * (width - len(rates))
        if y == height - 1:
            signs = "".join(_LAYER if anew else _LINE for anew in self._anew[-width:])
            segments = [Segment(sign, self._style("layer" if sign == _LAYER else "axis")) for sign in signs]
            return Strip([Segment(pad, self.rich_style), *segments]).simplify()
        rows = height - 1
        top = max(rates) or 1.0
        line = "".join(bar_part(rate / top, rows, rows - 1 - y) for rate in rates)
        return Strip([Segment(pad, self.rich_style), Segment(line, self._style("bar"))]).adjust_cell_length(width, self.rich_style)

    def _style(self, name: str) -> Style:
        return self.rich_style + self.get_component_rich_style(f"rate--{name}", partial=True)


def bar_part(share: float, rows: int, row: int) -> str:
    """The part in *row*, from the bottom, of a bar of *rows* rows that is filled to *share* (0 to 1); above 0 at least a trace."""
    eighths = round(share * rows * 8) or (1 if share > 0 else 0)
    return _EIGHTHS[max(0, min(8, eighths - 8 * row))]
