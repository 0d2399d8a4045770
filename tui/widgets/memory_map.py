"""The address space as lines of cells with a cursor. It zooms from everything down to one page; colour and glyph say what a cell is.

Lines are painted from page runs when they come into view (Textual's line API, `lamina.tui.model.cellmap`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lamina.tui.keys.keymap import MAP_KEYS
from lamina.tui.model import units
from lamina.tui.model.cellmap import CellLine, CellMap, MapArea, Paint, fitting_scale
from lamina.tui.theme import DANGER, told_by_colour
from lamina.tui.widgets.painting import CELL_COLOUR

# Which component class paints a glyph. Glyphs that differ by shade alone are drawn as full blocks where there is colour.
GLYPHS = {
    ".": "zero", "·": "file", "░": "old", "▒": "older", "▓": "parent", "█": "own", "*": "dirty", "+": "new",
    "≈": "shared", "╱": "untracked", "!": "punched", "?": "unknown", "=": "same", "~": "dirty", "-": "gone",
}  # fmt: skip
MEANING = {
    "░": "old", "▒": "older than the parent", "▓": "of the parent", "█": "of this layer", "*": "dirty", "+": "new",
    "≈": "shared", "╱": "not tracked", "!": "punched", "?": "in no layer",
}  # fmt: skip
# How much of its colour a cell has, so that one in which few pages count is pale.
_LEVELS = 4
_NAME, _NOTE = 12, 22
_NOTE_FROM = 72


class MemoryMap(ScrollView, can_focus=True):
    """Areas as lines of cells."""

    BINDINGS = MAP_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"map--{name}" for name in (*GLYPHS.values(), "label", "cursor")}

    @dataclass
    class Moved(Message):
        """The cursor came to another cell."""

        map: "MemoryMap"
        address: int

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a cell, or it was clicked twice."""

        map: "MemoryMap"
        address: int

    def __init__(self, id: str | None = None, meaning: Mapping[str, str] = MEANING) -> None:
        """*meaning*: what its glyphs mean, in words."""
        super().__init__(id=id)
        self._meaning = meaning
        self._areas: Sequence[MapArea] = ()
        self._paints: Sequence[Paint] = ()
        self._cells = CellMap((), (), 1, 1)
        self._address = 0
        self._scale = 0
        self._colours: dict[tuple[str, int], Style] = {}
        self.empty_text = ""

    # -- what is shown ---------------------------------------------------------------------------------------------------------------

    @property
    def address(self) -> int:
        """The first address of the cell under the cursor; 0 if nothing is shown."""
        return self._address

    @property
    def area(self) -> MapArea | None:
        """The area under the cursor."""
        place = self._cells.place_of(self._address)
        return self._cells.line(place[0]).area if place else None

    @property
    def scale(self) -> int:
        """Pages of a cell."""
        return self._cells.pages_per_cell

    @property
    def scale_text(self) -> str:
        """What a cell is, for a title."""
        return f"{units.pages(self.scale)} {'page' if self.scale == 1 else 'pages'}, {units.size(self._cells.cell_bytes)}"

    @property
    def under_cursor(self) -> str:
        """Where the cursor is and how many pages of what are in its cell, for a subtitle."""
        place = self._cells.place_of(self._address)
        if place is None:
            return ""
        area = self._cells.line(place[0]).area
        counts = ", ".join(f"{count} {self._meaning.get(glyph, glyph)}" for glyph, count in self._cells.counts(self._address))
        return f"{self._address:x} {area.name}" + (f" · {counts}" if counts else "")

    def legend(self) -> Text:
        """What the glyphs that occur mean."""
        text = Text(no_wrap=True, overflow="ellipsis")
        for paint in reversed(self._paints):
            if paint.runs and (piece := f" {self._meaning.get(paint.glyph, paint.glyph)}  ") not in text.plain:
                shape = "█" if paint.glyph in told_by_colour(self.app) else paint.glyph
                text.append(shape, CELL_COLOUR.get(paint.glyph, DANGER))
                text.append(piece, "dim")
        return text

    def show(self, areas: Sequence[MapArea], paints: Sequence[Paint]) -> None:
        """Repaint for *areas*, ascending, and *paints*, later ones above earlier ones. Cursor, scale and scrolling stay."""
        same = len(areas) == len(self._areas) and all(
            a.start == b.start and a.end == b.end for a, b in zip(areas, self._areas, strict=True)
        )
        self._areas, self._paints = areas, paints
        self._lay_out(keep_line=same)

    def holds(self, address: int) -> bool:
        """Whether an area has it."""
        return self._cells.place_of(address) is not None

    def go_to(self, address: int) -> bool:
        """Put the cursor on the page at *address*; False if it lies in no area."""
        if self.holds(address):
            self._move(address)
        return self.holds(address)

    def _lay_out(self, keep_line: bool = True) -> None:
        width = max(1, self.scrollable_content_region.width - _NAME - 1 - (_NOTE if self._wide else 0))
        scale = self._scale or fitting_scale(self._areas, width, max(1, self.size.height))
        before = self._cells.place_of(self._address)
        top = self.scroll_offset.y
        self._cells = CellMap(self._areas, self._paints, scale, width)
        self.virtual_size = Size(self.scrollable_content_region.width, self._cells.lines)
        self._address = self._first_of_cell(self._cells.nearest(self._address) if self._address else self._cells.fullest())
        after = self._cells.place_of(self._address)
        if keep_line and before and after:
            self.scroll_to(y=max(0, top + after[0] - before[0]), animate=False, immediate=True)
        self._bring_into_view()
        self.refresh()

    @property
    def _wide(self) -> bool:
        return self.size.width >= _NOTE_FROM

    def _first_of_cell(self, address: int) -> int:
        place = self._cells.place_of(address)
        return self._cells.address_at(*place) if place else 0

    # -- moving ----------------------------------------------------------------------------------------------------------------------

    def _move(self, address: int) -> None:
        address = self._first_of_cell(self._cells.nearest(address))
        if address != self._address:
            before, top = self._cells.place_of(self._address), self.scroll_offset.y
            self._address = address
            self._bring_into_view()
            self.post_message(self.Moved(self, address))
            after = self._cells.place_of(address)
            if before is None or after is None or self.scroll_offset.y != top:
                self.refresh()
            else:
                self.refresh_line(before[0])
                self.refresh_line(after[0])

    def _bring_into_view(self) -> None:
        place = self._cells.place_of(self._address)
        if place is None:
            return
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if place[0] < top:
            self.scroll_to(y=place[0], animate=False, immediate=True)
        elif place[0] >= top + height:
            self.scroll_to(y=place[0] - height + 1, animate=False, immediate=True)

    def action_cell(self, by: int) -> None:
        """To the next cell or the one before, over the ends of lines and areas."""
        place = self._cells.place_of(self._address)
        if place is None:
            return
        line, cell = place[0], place[1] + by
        if cell < 0:
            line, cell = line - 1, self._cells.width
        elif cell >= len(self._cells.line(line).glyphs):
            line, cell = line + 1, 0
        if 0 <= line < self._cells.lines:
            self._move(self._cells.address_at(line, cell))

    def action_line(self, by: int) -> None:
        """Up or down, in the same column as far as there is one."""
        place = self._cells.place_of(self._address)
        if place is not None:
            line = max(0, min(place[0] + by, self._cells.lines - 1))
            self._move(self._cells.address_at(line, place[1]))

    def action_screen(self, by: int) -> None:
        """A screenful up or down."""
        self.action_line(by * max(1, self.size.height - 1))

    def action_end(self, last: bool) -> None:
        """To the first or the last cell."""
        if self._cells.lines:
            self._move(self._cells.address_at(self._cells.lines - 1, self._cells.width) if last else self._cells.address_at(0, 0))

    def action_zoom(self, closer: bool) -> None:
        """Half or twice as many pages a cell; the cursor keeps its page."""
        scale = self.scale // 2 if closer else self.scale * 2
        widest = max((area.pages for area in self._areas), default=1)
        if scale >= 1 and (closer or self.scale < widest):
            self._scale = scale
            self._lay_out()
            self.post_message(self.Moved(self, self._address))

    def action_whole(self) -> None:
        """The scale at which all of it fits."""
        self._scale = 0
        self._lay_out()
        self.post_message(self.Moved(self, self._address))

    def action_choose(self) -> None:
        """Enter."""
        if self.area is not None:
            self.post_message(self.Chosen(self, self._address))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, two choose."""
        line, cell = event.y + self.scroll_offset.y, event.x - _NAME
        if 0 <= line < self._cells.lines and cell >= 0:
            self._move(self._cells.address_at(line, cell))
            if event.chain == 2:
                self.action_choose()

    def on_resize(self) -> None:
        """Lay it out for the new width."""
        self._lay_out()

    # -- painting --------------------------------------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Look the colours up anew: the theme has changed."""
        self._colours.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen: the area's name, its cells, what stands behind it."""
        width, number = self.scrollable_content_region.width, y + self.scroll_offset.y
        label = self.get_component_rich_style("map--label")
        if number >= self._cells.lines:
            text = f" {self.empty_text}" if not self._areas and y == 1 else ""
            return Strip([Segment(set_cell_size(text, width), label)], width)
        line = self._cells.line(number)
        segments = [Segment(set_cell_size(f" {line.area.name}" if line.first else "", _NAME), label), *self._cell_segments(number, line)]
        segments.append(Segment(" " * (self._cells.width - len(line.glyphs)), self.rich_style))
        if self._wide:
            note = f"{line.area.note} {units.size(line.area.end - line.area.start)} " if line.first else ""
            segments.append(Segment(set_cell_size(note[-_NOTE:].rjust(_NOTE), _NOTE), label))
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _cell_segments(self, number: int, line: CellLine) -> list[Segment]:
        place = self._cells.place_of(self._address)
        cursor = place[1] if place and place[0] == number else -1
        cells = [(glyph, self._level(share), at == cursor) for at, (glyph, share) in enumerate(zip(line.glyphs, line.shares, strict=True))]
        segments, full = [], told_by_colour(self.app)
        for (glyph, level, under), same in groupby(cells):
            shape = "█" if glyph in full else glyph
            style = self._colour(glyph, level)
            if under:
                style += Style(reverse=True, underline=True) + self._cursor(glyph)
                # A full block in reverse video would be an empty one.
                shape = "◆" if shape == "█" else glyph
            segments.append(Segment(shape * len(list(same)), style))
        return segments

    def _cursor(self, glyph: str) -> Style:
        return self.get_component_rich_style("map--cursor", partial=True) if self.has_focus else Style.null()

    @staticmethod
    def _level(share: float) -> int:
        return max(1, min(_LEVELS, -int(-share * _LEVELS // 1)))

    def _colour(self, glyph: str, level: int) -> Style:
        key = (glyph, level)
        if key not in self._colours:
            styles = self.get_component_styles(f"map--{GLYPHS.get(glyph, 'unknown')}")
            colour, ground = styles.color, self.background_colors[1]
            if glyph in told_by_colour(self.app):
                colour = ground.blend(colour, 0.6 + 0.4 * level / _LEVELS)
            self._colours[key] = Style(color=colour.rich_color, bgcolor=ground.rich_color)
        return self._colours[key]
