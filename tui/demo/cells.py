"""The demo program's cells, read from its memory as it runs, in the colour of the layer that owns their page."""

from rich.text import Text
from textual.widget import Widget

from lamina.tui.demo.host import Cells
from lamina.tui.theme import DIRTY, NEW, QUIET, is_shaded
from lamina.tui.widgets.painting import paint


class CellsPane(Widget):
    """The pane next to the stack in the demo."""

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self.border_title = "the program's memory, live"
        self._cells: Cells | None = None
        self._glyphs: dict[int, str] = {}

    def show(self, cells: Cells | None, glyphs: dict[int, str]) -> None:
        """Repaint. *glyphs* gives the age glyph of cells whose page some layer has or that are dirty; others are new."""
        if (cells, glyphs) != (self._cells, self._glyphs):
            self._cells, self._glyphs = cells, glyphs
            self.border_subtitle = "" if cells is None else f"step {cells.step}"
            self.refresh()

    def render(self) -> Text:
        """Two characters a cell, so that it is square."""
        cells = self._cells
        if cells is None:
            return Text("\n the program is not running", style="dim")
        text = Text(no_wrap=True)
        margin = " " * max(0, (self.size.width - 2 * cells.columns) // 2)
        text.append("\n" * max(0, (self.size.height - len(cells.frozen) // cells.columns - 1) // 2))
        for at, step in enumerate(cells.frozen):
            if at % cells.columns == 0:
                text.append(("\n" if at else "") + margin)
            text.append_text(_cell(bool(step), self._glyphs.get(at, ""), is_shaded(self.app)))
        return text


def _cell(frozen: bool, glyph: str, shaded: bool) -> Text:
    if glyph == "*":
        return Text("**" if frozen else "* ", style=f"bold {DIRTY}")
    if not frozen:
        return Text("· ", style=QUIET)
    return paint(glyph, shaded, 2) if glyph else Text("██", style=NEW)
