"""Memory as hexadecimal bytes and text, read while the user scrolls. Changed bytes and hits are highlighted.

It holds only the surroundings of the visible lines, and asks for more (`Wanted`) before their end comes into view.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lamina.tui.keys.keymap import HEX_KEYS
from lamina.tui.model.bytelines import LINE, ByteLines
from lamina.tui.read.page_bytes import ByteWindow

PAGE = 4096
# Lines read at once, and how many of them before the first visible one.
_LINES, _BEFORE = 2048, 512
# Cells of a line that has room for gaps.
_ROOMY = 80


class HexView(Widget, can_focus=True):
    """Lines of 16 bytes with a cursor on one byte."""

    BINDINGS = HEX_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "hex--address", "hex--byte", "hex--zero", "hex--changed", "hex--hit", "hex--cursor", "hex--nothing", "hex--rule",
    }  # fmt: skip

    @dataclass
    class Moved(Message):
        """The cursor came to another byte."""

        address: int

    @dataclass
    class Wanted(Message):
        """These stretches (address, bytes) are needed for painting; *first* is the line that they begin at."""

        first: int
        stretches: tuple[tuple[int, int], ...]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = ByteLines(())
        self._names: dict[int, str] = {}
        self._windows: Sequence[ByteWindow] = ()
        self._known = range(0)
        self._asked = range(0)
        self._top = 0
        self._address = 0
        self._hits: Sequence[tuple[int, int]] = ()
        self._styles: dict[str, Style] = {}
        self.empty_text = ""

    # -- what is shown ---------------------------------------------------------------------------------------------------------------

    @property
    def address(self) -> int:
        """The byte under the cursor."""
        return self._address

    @property
    def under_cursor(self) -> bytes:
        """The bytes from the cursor on, as far as they are known; at most 64."""
        window = self.window_at(self._address)
        if window is None or not window.owner(self._address)[1]:
            return b""
        at = self._address - window.start
        return window.data[at : at + 64]

    def window_at(self, address: int) -> ByteWindow | None:
        """What was read of the memory at *address*, if it is near enough to the cursor."""
        return next((window for window in self._windows if window.start <= address < window.end), None)

    def show_areas(self, areas: Sequence[tuple[int, int, str]], address: int | None = None) -> None:
        """Show another memory; the cursor goes to *address*, or stays where that is mapped."""
        self._lines = ByteLines([(start, end) for start, end, _ in areas])
        self._names = {start: name for start, _, name in areas}
        self._windows, self._known, self._asked = (), range(0), range(0)
        wanted = self._address if address is None else address
        self._address = -1
        self.go_to(wanted if self._lines.line_of(wanted) is not None else self._lines.address_of(0))
        self.refresh()

    def show_windows(self, first: int, windows: Sequence[ByteWindow]) -> None:
        """Show what was read from line *first* on. An answer to an older question is ignored."""
        if self._asked and self._asked.start == first:
            self._windows, self._known, self._asked = windows, self._asked, range(0)
            self.post_message(self.Moved(self._address))
            self.refresh()

    def read_again(self) -> None:
        """Ask again for what is shown: a running program has gone on."""
        if self._known and not self._asked:
            self._asked = self._known
            self.post_message(self.Wanted(self._known.start, self._lines.stretches(self._known.start, len(self._known))))

    def show_hits(self, hits: Sequence[tuple[int, int]]) -> None:
        """Highlight these hits (address, size), ascending."""
        self._hits = hits
        self.refresh()

    def go_to(self, address: int) -> bool:
        """Put the cursor on *address*; False if nothing is mapped there."""
        line = self._lines.line_of(address)
        if line is None:
            return False
        if address != self._address:
            self._address = address
            self.post_message(self.Moved(address))
        height = max(1, self.size.height)
        if not self._top <= line < self._top + height:
            # A jump also shows what precedes its goal; a step scrolls by a line.
            step = line in (self._top - 1, self._top + height)
            self._top = max(0, line - (0 if line < self._top and step else height - 1 if step else height // 3))
        self._want()
        self.refresh()
        return True

    def _want(self) -> None:
        """Ask for what is visible, unless it is there or asked for."""
        last = min(self._top + max(1, self.size.height), self._lines.count) - 1
        for known in (self._known, self._asked):
            if self._top in known and last in known:
                return
        if last >= 0:
            first = max(0, self._top - _BEFORE)
            self._asked = range(first, first + _LINES)
            self.post_message(self.Wanted(first, self._lines.stretches(first, _LINES)))

    # -- moving ----------------------------------------------------------------------------------------------------------------------

    def action_byte(self, by: int) -> None:
        """To a byte before or behind, over gaps."""
        target = self._address + by
        if self._lines.line_of(target) is None:
            line = self._lines.line_of(self._address)
            if line is None:
                return
            other = line + (1 if by > 0 else -1)
            if not 0 <= other < self._lines.count:
                return
            target = self._lines.address_of(other) + (0 if by > 0 else LINE - 1)
        self.go_to(target)

    def action_line(self, by: int) -> None:
        """Up or down."""
        line = self._lines.line_of(self._address)
        if line is not None:
            self.go_to(self._lines.address_of(line + by) + self._address % LINE)

    def action_screen(self, by: int) -> None:
        """A screenful up or down."""
        self.action_line(by * max(1, self.size.height - 1))

    def action_end(self, last: bool) -> None:
        """To the first or the last byte."""
        if self._lines.count:
            self.go_to(self._lines.address_of(self._lines.count - 1) + LINE - 1 if last else self._lines.address_of(0))

    def action_page(self, by: int) -> None:
        """To the start of a page before or behind."""
        self.action_line(by * (PAGE // LINE))

    def action_area(self, by: int) -> None:
        """To the start of an area before or behind."""
        start = self._lines.area_start(self._address, 0)
        self.go_to(start if by < 0 and self._address != start else self._lines.area_start(self._address, by))

    def on_resize(self) -> None:
        """More may be visible."""
        if self._lines.count:
            self.go_to(self._address)

    def on_mouse_scroll_down(self) -> None:
        """The wheel."""
        self.action_line(3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel."""
        self.action_line(-3)

    def on_click(self, event: events.Click) -> None:
        """A click on a byte puts the cursor there."""
        gap = len(self._gap)
        cell = event.x - 12 - gap
        if 0 <= cell < 3 * LINE + gap - 1:
            cell -= gap - 1 if cell > 3 * LINE // 2 else 0
            self.go_to(self._lines.address_of(self._top + event.y) + min(LINE - 1, cell // 3))

    # -- painting --------------------------------------------------------------------------------------------------------------------

    @property
    def _gap(self) -> str:
        """The gap between address and bytes, and between the halves of the bytes."""
        return "  " if self.size.width >= _ROOMY else " "

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen: address, bytes, text."""
        width, style = self.size.width, self.rich_style
        if not self._lines.count or self._top + y >= self._lines.count:
            text = f" {self.empty_text}" if not self._lines.count and y == 1 else ""
            return Strip([Segment(text, self._style("nothing"))]).adjust_cell_length(width, style)
        start = self._lines.address_of(self._top + y)
        name, window = self._names.get(start, ""), self.window_at(start)
        gap = self._gap
        segments = [Segment(f"{start:012x}{gap}", self._style("address"))]
        codes: list[Segment] = []
        letters: list[Segment] = []
        for at in range(LINE):
            code, letter, kind = self._cell(window, start + at)
            codes += [Segment(code, kind), Segment(gap if at == LINE // 2 - 1 else " ", style)]
            letters.append(Segment(letter, kind))
        segments += [*codes, Segment(" ", style), *letters]
        if name:
            segments.append(Segment(f"  {name}", self._style("rule")))
        return Strip(segments).adjust_cell_length(width, style).simplify()

    def _cell(self, window: ByteWindow | None, address: int) -> tuple[str, str, Style]:
        if window is None or not window.owner(address)[1]:
            code, letter, style = "··", "·", self._style("nothing")
        else:
            value = window.data[address - window.start]
            changed = window.changed and window.changed[address - window.start]
            kind = "hit" if self._is_hit(address) else "changed" if changed else "byte" if value else "zero"
            code, letter, style = f"{value:02x}", chr(value) if 32 <= value < 127 else ".", self._style(kind)
        if address == self._address:
            style += self.get_component_rich_style("hex--cursor", partial=True) + Style(reverse=True, underline=True)
        return code, letter, style

    def _is_hit(self, address: int) -> bool:
        at = bisect_right(self._hits, (address, 1 << 64)) - 1
        return at >= 0 and address < self._hits[at][0] + self._hits[at][1]

    def notify_style_update(self) -> None:
        """Look styles up anew: the theme or the focus has changed."""
        self._styles.clear()
        super().notify_style_update()

    def _style(self, name: str) -> Style:
        # Looked up for every byte on the screen, with every key.
        if name not in self._styles:
            self._styles[name] = self.rich_style + self.get_component_rich_style(f"hex--{name}", partial=True)
        return self._styles[name]
