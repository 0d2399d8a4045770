"""A list of rows under column titles that stays put: the cursor keeps its row and its line on the screen when the rows are read anew.

Only visible lines are drawn, so 10,000 rows cost as much as 20. Columns drop from the right end of a declared order when it is narrow.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lamina.tui.keymap import LIST_KEYS
from lamina.tui.looks import is_shaded

Row = TypeVar("Row")
# Text and the name of a component class ("" for the row's own colour).
Cell = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        title: shown above it.
        width: cells; 0 for the one column that takes what is left.
        cell: a row's text, in pieces with their colours.
        right: aligned to the right, for numbers.
        keep: the column is dropped while the list is narrower than this many cells.
    """

    title: str
    width: int
    cell: Callable[[Row], Cell]
    right: bool = False
    keep: int = 0


class RowList(ScrollView, Generic[Row], can_focus=True):
    """Rows with a cursor. `key_of` says which row is which across refreshes."""

    BINDINGS = LIST_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "row--title", "row--cursor", "row--dim", "row--good", "row--warn", "row--danger", "row--warm", "row--new", "row--bright",
    }  # fmt: skip

    @dataclass
    class Moved(Message):
        """The cursor came to another row, or its row is gone (None)."""

        rows: "RowList[Any]"
        row: Any

    @dataclass
    class Chosen(Message):
        """Enter was pressed, or the row under the cursor clicked."""

        rows: "RowList[Any]"
        row: Any

    def __init__(self, columns: Sequence[Column[Row]], key_of: Callable[[Row], Hashable], id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._key_of = key_of
        self._rows: Sequence[Row] = ()
        self._at = 0
        self.empty_text = ""

    @property
    def rows(self) -> Sequence[Row]:
        """What is shown, top first."""
        return self._rows

    @property
    def visible_rows(self) -> Sequence[Row]:
        """Those on the screen now."""
        top = self.scroll_offset.y
        return self._rows[top : top + max(1, self.size.height - 1)]

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self._at] if self._rows else None

    def show_rows(self, rows: Sequence[Row], follow: Hashable = None) -> None:
        """Replace the rows; the cursor stays on its row (or goes to *follow*) and that row on its line of the screen."""
        before = self.row
        wanted = follow if follow is not None else (self._key_of(before) if before is not None else None)
        line = self._at - self.scroll_offset.y
        self._rows = rows
        found = next((at for at, row in enumerate(rows) if self._key_of(row) == wanted), None)
        self._at = found if found is not None else max(0, min(self._at, len(rows) - 1))
        self.virtual_size = Size(0, len(rows) + 1)
        if found is not None and follow is None:
            self.scroll_to(y=max(0, self._at - line), animate=False, immediate=True)
        else:
            self._bring_into_view()
        after = self.row
        if after is not before:
            self.post_message(self.Moved(self, after))
        self.refresh()

    def move_to(self, at: int) -> None:
        """Put the cursor on row number *at*, as near as there is one."""
        at = max(0, min(at, len(self._rows) - 1))
        if self._rows and at != self._at:
            self._at = at
            self._bring_into_view()
            self.post_message(self.Moved(self, self.row))
            self.refresh()

    def _bring_into_view(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height - 1)
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, immediate=True)
        elif self._at >= top + height:
            self.scroll_to(y=self._at - height + 1, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        """Up or down."""
        self.move_to(self._at + by)

    def action_page(self, by: int) -> None:
        """A screenful up or down."""
        self.move_to(self._at + by * max(1, self.size.height - 2))

    def action_end(self, last: bool) -> None:
        """First or last row."""
        self.move_to(len(self._rows) if last else 0)

    def action_choose(self) -> None:
        """Enter."""
        if self._rows:
            self.post_message(self.Chosen(self, self.row))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a click on the cursor chooses."""
        at = event.y - 1 + self.scroll_offset.y
        if 0 <= at < len(self._rows) and event.y > 0:
            if at == self._at:
                self.action_choose()
            self.move_to(at)

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._bring_into_view()

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen: the titles, then the rows."""
        width = self.scrollable_content_region.width
        columns = [column for column in self._columns if column.keep <= width]
        rest = max(0, width - sum(column.width + 1 for column in columns if column.width) - 1)
        if y == 0:
            style = self.get_component_rich_style("row--title")
            pieces = [_fit([Segment(c.title, style)], c.width or rest, c.right, style) for c in columns]
            return self._join(pieces, style, width)
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._rows):
            text = f" {self.empty_text}" if not self._rows and y == 2 else ""
            return Strip([Segment(set_cell_size(text, width), self.get_component_rich_style("row--dim"))], width)
        base = self.rich_style
        chosen = at == self._at
        if chosen:
            base += self.get_component_rich_style("row--cursor", partial=not self.has_focus)
        row = self._rows[at]
        pieces = []
        for column in columns:
            cell = [Segment(text, base + self._colour(name, chosen)) for text, name in column.cell(row)]
            pieces.append(_fit(cell, column.width or rest, column.right, base))
        return self._join(pieces, base, width)

    def _colour(self, name: str, chosen: bool) -> Style:
        # What is dim elsewhere would be hard to read on the cursor, and so would colours turned round.
        if not name or (chosen and (name == "dim" or is_shaded(self.app))):
            return Style.null()
        return self.get_component_rich_style(f"row--{name}", partial=True)

    @staticmethod
    def _join(pieces: list[list[Segment]], style: Style, width: int) -> Strip:
        gap = Segment(" ", style)
        line = [segment for piece in pieces for segment in (gap, *piece)]
        return Strip(line).adjust_cell_length(width, style)


def _fit(cell: list[Segment], width: int, right: bool, base: Style) -> list[Segment]:
    length = sum(cell_len(segment.text) for segment in cell)
    if length > width:
        return [*Strip(cell).crop(0, max(0, width - 1)), Segment("…" if width else "", base)]
    pad = [Segment(" " * (width - length), base)]
    return pad + cell if right else cell + pad
