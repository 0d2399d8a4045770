"""One page on two sides as hexadecimal bytes and text, with differences highlighted: side by side where there is room, else interleaved.

Only the lines on the screen are painted.
"""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lamina.tui.keys.keymap import PAIR_KEYS
from lamina.tui.model.both_pages import BothPages, PairLine, pair_lines

_WIDE = 16
_NARROW = 8
_OFFSET = 6


def _cells(width: int) -> int:
    """How many cells *width* bytes of one side take."""
    return 3 * width + 1 + width


class DiffPages(ScrollView, can_focus=True):
    """The pair."""

    BINDINGS = PAIR_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair--offset", "pair--byte", "pair--zero", "pair--before", "pair--after", "pair--gap",
    }  # fmt: skip

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pages: BothPages | None = None
        self._lines: tuple[PairLine, ...] = ()
        # What each row of the screen shows: a line, and whether it is that of side b, below that of side a.
        self._rows: list[tuple[PairLine, bool]] = []
        self._whole = False
        self._styles: dict[str, Style] = {}
        self.empty_text = ""

    @property
    def pages(self) -> BothPages | None:
        """What is shown."""
        return self._pages

    @property
    def lines(self) -> tuple[PairLine, ...]:
        """The lines there are, visible or not."""
        return self._lines

    @property
    def side_by_side(self) -> bool:
        """Whether both sides fit side by side."""
        return self.size.width >= _OFFSET + 2 * _cells(_NARROW) + 2

    @property
    def _bytes(self) -> int:
        """Bytes of a line of one side."""
        room = self.size.width - _OFFSET
        return _WIDE if room >= 2 * _cells(_WIDE) + 2 or (not self.side_by_side and room >= _cells(_WIDE) + 2) else _NARROW

    def show(self, pages: BothPages | None) -> None:
        """Show another page from its top, or the same page again at the same place."""
        moved = pages is None or self._pages is None or (pages.which, pages.address) != (self._pages.which, self._pages.address)
        self._pages = pages
        self._lay_out()
        if moved:
            first = next((at for at, (line, _) in enumerate(self._rows) if any(line.marks)), 0)
            self.scroll_to(y=max(0, first - 1), animate=False, immediate=True)

    def _lay_out(self) -> None:
        self._lines = pair_lines(self._pages, self._bytes, self._whole) if self._pages is not None else ()
        one = self.side_by_side
        self._rows = [(line, second) for line in self._lines for second in ((False,) if one or line.a == line.b else (False, True))]
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.refresh()

    def on_resize(self) -> None:
        """Lay the lines out for the new width."""
        self._lay_out()

    def action_lines(self, by: int) -> None:
        """Scroll by some lines."""
        self.scroll_to(y=max(0, self.scroll_offset.y + by), animate=False, immediate=True)

    def action_screens(self, by: int) -> None:
        """Scroll by some screenfuls."""
        self.action_lines(by * max(1, self.size.height - 1))

    def action_ends(self, last: bool) -> None:
        """To the first or the last line."""
        self.action_lines(by=(1 if last else -1) * len(self._rows))

    def action_whole(self) -> None:
        """The whole page, or only what differs in it."""
        self._whole = not self._whole
        self._lay_out()

    # -- painting --------------------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen."""
        width, number = self.size.width, y + self.scroll_offset.y
        if not self._rows:
            return Strip([Segment(f" {self.empty_text}" if y == 1 else "", self._style("gap"))]).adjust_cell_length(width, self.rich_style)
        if number >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        line, second = self._rows[number]
        if line.left_out:
            text = f"       ⋯ {line.left_out:,} bytes are the same"
            return Strip([Segment(text, self._style("gap"))]).adjust_cell_length(width, self.rich_style)
        return Strip(self._segments(line, second)).adjust_cell_length(width, self.rich_style).simplify()

    def _segments(self, line: PairLine, second: bool) -> list[Segment]:
        offset = Segment(f" {line.offset:04x} ", self._style("offset"))
        if self.side_by_side:
            return [offset, *self._side(line, False), Segment("│ ", self._style("gap")), *self._side(line, True), self._number(line)]
        sign = "  " if not any(line.marks) else "+ " if second else "- "
        begin = Segment(" " * _OFFSET, self.rich_style) if second else offset
        return [begin, Segment(sign, self._style("after" if second else "before")), *self._side(line, second)]

    def _number(self, line: PairLine) -> Segment:
        """The change as numbers, where there is room; in hexadecimal if they are as large as addresses."""
        if line.number is None:
            return Segment("")
        size, before, after = line.number
        large = max(before, after) >= 1 << 40
        text = f" {before:x} → {after:x}" if large else f" u{size * 8} {before:,} → {after:,}"
        room = self.size.width - _OFFSET - 2 * _cells(self._bytes) - 3
        return Segment(text if len(text) <= room else "", self._style("gap"))

    def _side(self, line: PairLine, after: bool) -> list[Segment]:
        data = line.b if after else line.a
        codes, letters, blank = [], [], Segment(" ", self._style("gap"))
        for at in range(self._bytes):
            if at < len(data):
                style = self._byte_style(data[at], line.marks[at], after)
                code, letter = f"{data[at]:02x}", chr(data[at]) if 32 <= data[at] < 127 else "."
            else:
                style, code, letter = self._style("gap"), "··", "·"
            codes += [Segment(code, style), blank]
            letters.append(Segment(letter, style))
        return [*codes, *letters, blank]

    def _byte_style(self, value: int, differs: bool, after: bool) -> Style:
        if not differs:
            return self._style("byte" if value else "zero")
        return self._style("after" if after else "before")

    def notify_style_update(self) -> None:
        """Look styles up anew: the theme or the focus has changed."""
        self._styles.clear()
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.rich_style + self.get_component_rich_style(f"pair--{name}", partial=True)
        return self._styles[name]
