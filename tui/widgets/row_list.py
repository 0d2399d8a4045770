"""A list of rows under column titles. When the rows are read again, the cursor stays on its row, and the row at its line on the screen.

Only visible lines are drawn, so 10,000 rows cost as much as 20. When there is little room, columns are left out in the order they declare.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Generic

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lamina.core.errors import in_one_line
from lamina.tui.keys.keymap import LIST_KEYS
from lamina.tui.model.view import View
from lamina.tui.theme import is_shaded
from lamina.tui.widgets.row_columns import Cell, Column, Row, fit, lay_out

__all__ = ["Cell", "Column", "RowList"]


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
        """Enter was pressed on a row, or it was clicked twice."""

        rows: "RowList[Any]"
        row: Any

    @dataclass
    class TitleClicked(Message):
        """The title of a column was clicked."""

        rows: "RowList[Any]"
        title: str

    @dataclass
    class Scrolled(Message):
        """Other rows came into view."""

        rows: "RowList[Any]"

    def __init__(self, columns: Sequence[Column[Row]], key_of: Callable[[Row], Hashable], id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._key_of = key_of
        self._rows: Sequence[Row] = ()
        self._at = 0
        self._sorted_by: tuple[str, bool] | None = None
        self._laid_out: tuple[int, list[tuple[Column[Row], int]]] | None = None
        self._inks: dict[str, Style] = {}
        self.empty_text = ""
        # What is saved of a row as JSON, with exact values; by default the row itself if it is a dataclass, else what is shown.
        self.record: Callable[[Row], Any] | None = None

    def show_columns(self, columns: Sequence[Column[Row]], sorted_by: tuple[str, bool] | None = None) -> None:
        """Show these columns from now on; *sorted_by*: the title of the one that says the order, and whether that is downwards."""
        self._columns, self._sorted_by, self._laid_out = columns, sorted_by, None
        self.refresh()

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

    def show_rows(self, rows: Sequence[Row], follow: Hashable = None, still: bool = False) -> None:
        """Replace the rows; the cursor stays on its row (or goes to *follow*), whatever became of the others.

        What is on the screen stays where it is: the row under the cursor on its line, or, if that was scrolled out of sight, the first one
        to be seen. With *still* the place in the list stays instead: the top of a list by size is the top.
        """
        before, top = self.row, self.scroll_offset.y
        wanted = follow if follow is not None else (self._key_of(before) if before is not None else None)
        places = {self._key_of(row): at for at, row in enumerate(rows)}
        anchor = self._at if top <= self._at < top + max(1, self.size.height - 1) else top
        line = anchor - top
        if anchor != self._at:
            anchor = next((at for at in range(anchor, len(self._rows)) if self._key_of(self._rows[at]) in places), anchor)
        stays = places.get(self._key_of(self._rows[anchor])) if anchor < len(self._rows) else None
        self._rows = rows
        found = places.get(wanted) if wanted is not None else None
        self._at = found if found is not None else max(0, min(self._at, len(rows) - 1))
        self.virtual_size = Size(0, len(rows) + 1)
        if follow is not None or found is None:
            self._bring_into_view()
        elif not still and stays is not None:
            self.scroll_to(y=max(0, stays - line), animate=False, immediate=True)
        after = self.row
        if after is not before:
            self.post_message(self.Moved(self, after))
        self.refresh()

    def move_to(self, at: int) -> None:
        """Put the cursor on row number *at*, as near as there is one."""
        at = max(0, min(at, len(self._rows) - 1))
        if self._rows and at != self._at:
            before, top = self._at, self.scroll_offset.y
            self._at = at
            self._bring_into_view()
            self.post_message(self.Moved(self, self.row))
            if self.scroll_offset.y != top:
                self.refresh()
            else:  # below the line of titles
                self.refresh_line(before + 1)
                self.refresh_line(at + 1)

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

    def view(self) -> View:
        """All rows, also those not on the screen, to be saved."""
        rows = tuple(self._texts(row) for row in self._rows)
        records = tuple(self.record(row) if self.record is not None else row for row in self._rows)
        if self.record is None and not all(is_dataclass(row) for row in self._rows):
            records = ()
        return View(self.id or "", titles=tuple(column.title for column in self._columns), rows=rows, records=records)

    def copy_text(self) -> str:
        """The row under the cursor, as shown."""
        return "  ".join(text for text in self._texts(self.row) if text) if self.row is not None else ""

    def _texts(self, row: Row) -> tuple[str, ...]:
        return tuple("".join(text for text, _ in column.cell(row)).strip() for column in self._columns)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, two choose; a click on a title tells which."""
        if event.y == 0:
            if title := self._title_at(event.x):
                self.post_message(self.TitleClicked(self, title))
            return
        at = event.y - 1 + self.scroll_offset.y
        if at < len(self._rows):
            self.move_to(at)
            if event.chain == 2:
                self.action_choose()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell that other rows came into view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled(self))

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._bring_into_view()

    def _layout(self) -> list[tuple[Column[Row], int]]:
        """The columns there is room for, with their widths."""
        width = self.scrollable_content_region.width
        if self._laid_out is None or self._laid_out[0] != width:
            self._laid_out = (width, lay_out([column for column in self._columns if column.keep <= width], width))
        return self._laid_out[1]

    def room(self, title: str) -> int:
        """How wide the column *title* is; 0 if there is none now."""
        return next((width for column, width in self._layout() if column.title == title), 0)

    def _title_at(self, x: int) -> str:
        left = 0
        for column, width in self._layout():
            left += width + 1
            if x < left:
                return column.title
        return ""

    def _title(self, column: Column[Row], width: int) -> str:
        if self._sorted_by is None or self._sorted_by[0] != column.title:
            return column.title
        return column.title[: max(0, width - 1)] + ("↓" if self._sorted_by[1] else "↑")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Some lines; their styles are worked out once for all of them."""
        self._inks.clear()
        return super().render_lines(crop)

    def _ink(self, name: str, work_out: Callable[[], Style]) -> Style:
        if name not in self._inks:
            self._inks[name] = work_out()
        return self._inks[name]

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen: the titles, then the rows."""
        width = self.scrollable_content_region.width
        columns = self._layout()
        if y == 0:
            style = self.get_component_rich_style("row--title")
            pieces = [fit([Segment(self._title(c, w), style)], w, c.right, style) for c, w in columns]
            return self._join(pieces, style, width)
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._rows):
            text = f" {self.empty_text}" if not self._rows and y == 2 else ""
            return Strip([Segment(set_cell_size(text, width), self.get_component_rich_style("row--dim"))], width)
        base = self._ink("", lambda: self.rich_style)
        chosen = at == self._at
        if chosen:
            base += self.get_component_rich_style("row--cursor", partial=not self.has_focus)
        row = self._rows[at]
        pieces = []
        for column, room in columns:
            cell = [Segment(_harmless(text), base + self._colour(name, chosen)) for text, name in column.cell(row)]
            pieces.append(fit(cell, room, column.right, base))
        return self._join(pieces, base, width)

    def _colour(self, name: str, chosen: bool) -> Style:
        # Dim text and reversed colours would be hard to read under the cursor.
        if not name or (chosen and (name == "dim" or is_shaded(self.app))):
            return Style.null()
        return self._ink(name, lambda: self.get_component_rich_style(f"row--{name}", partial=True))

    @staticmethod
    def _join(pieces: list[list[Segment]], style: Style, width: int) -> Strip:
        gap = Segment(" ", style)
        line = [segment for piece in pieces for segment in (gap, *piece)]
        return Strip(line).adjust_cell_length(width, style)


def _harmless(text: str) -> str:
    # Programs and files may be called anything: nothing in a name may move the cursor of the terminal.
    return text if text.isprintable() else in_one_line(text)
