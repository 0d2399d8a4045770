"""The log with its levels. Only visible lines are drawn. It follows new entries while the cursor is on the last one."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from lamina.tui.keys.keymap import LOG_KEYS
from lamina.tui.model.log import Entry, Level, Log
from lamina.tui.model.view import View

# The time and the level, with the blanks around them; without milliseconds where it is narrow.
_WIDE_HEAD, _HEAD = 21, 17
_WIDE = 90
_NARROWEST = 20


@dataclass(frozen=True)
class Line:
    """One line on the screen: a part of an entry, if entries are wrapped."""

    entry: Entry
    text: str
    first: bool = True

    def head(self, width: int) -> tuple[str, str]:
        """What comes before the text, in *width* cells: the time and the level."""
        if not self.first:
            return "", " " * width
        clock = self.entry.clock if width == _WIDE_HEAD else self.entry.clock[:8]
        return f"{clock} ", f"{self.entry.level.word:<7} "


def _parts_of(entry: Entry, width: int) -> list[Line]:
    """*entry* on lines of *width* cells; on one if that is 0."""
    if not width or len(entry.said) <= width:
        return [Line(entry, entry.said)]
    parts = textwrap.wrap(entry.said, width, break_on_hyphens=False) or [""]
    return [Line(entry, part, number == 0) for number, part in enumerate(parts)]


class LogView(ScrollView, can_focus=True):
    """Shows the entries of a `Log` from a level on."""

    BINDINGS = LOG_KEYS
    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--dim", "log--cursor", "log--hit", "log--error", "log--warning", "log--notice", "log--info", "log--debug",
    }  # fmt: skip

    class Changed(Message):
        """What is shown, or how, has changed."""

    def __init__(self, log: Log) -> None:
        super().__init__(id="log")
        self._log = log
        self._lines: Sequence[Line] = ()
        # Where each entry begins among the lines; the lines of each, by its number, as they are for that width.
        self._starts: list[int] = []
        self._parts: dict[int, list[Line]] = {}
        self._laid_out_for = -1
        self._head = _WIDE_HEAD
        self.at = 0
        self.entries: list[Entry] = []
        self.level = Level.INFO
        self.wrap = True
        self.follows = True
        self.needle = ""

    @property
    def entry(self) -> Entry | None:
        """The one under the cursor."""
        return self.entries[self.at] if self.entries else None

    @property
    def hits(self) -> list[int]:
        """Which of the entries shown have what is searched."""
        return [at for at, entry in enumerate(self.entries) if self.needle and entry.has(self.needle)]

    def read(self) -> None:
        """Show what the log holds now."""
        before = self.entry
        self.entries = self._log.from_level(self.level)
        last = len(self.entries) - 1
        if self.follows or before is None:
            self.at = max(0, last)
        else:  # the same entry, or the next one if its level is not shown any more
            self.at = next((at for at, entry in enumerate(self.entries) if entry.number >= before.number), max(0, last))
        self._lay_out()

    def _lay_out(self) -> None:
        self._head = _WIDE_HEAD if self.size.width >= _WIDE else _HEAD
        width = max(_NARROWEST, self.scrollable_content_region.width - self._head) if self.wrap else 0
        if width != self._laid_out_for:
            self._laid_out_for, self._parts = width, {}
        lines: list[Line] = []
        parts: dict[int, list[Line]] = {}
        self._starts = []
        for entry in self.entries:
            self._starts.append(len(lines))
            parts[entry.number] = part = self._parts.get(entry.number) or _parts_of(entry, width)
            lines += part
        self._lines, self._parts = lines, parts
        longest = 0 if self.wrap else max((self._head + cell_len(line.text) for line in lines), default=0)
        self.virtual_size = Size(longest, len(lines))
        self._bring_into_view()
        self.refresh()
        self.post_message(self.Changed())

    def on_resize(self) -> None:
        """Wrap anew."""
        self._lay_out()

    # -- moving ----------------------------------------------------------------------------------------------------------------------

    def go_to(self, at: int) -> None:
        """Put the cursor on entry number *at* of those shown."""
        last = len(self.entries) - 1
        self.at = max(0, min(at, last))
        self.follows = self.at == last
        self._bring_into_view()
        self.refresh()
        self.post_message(self.Changed())

    def go_to_first_of(self, about: str, since: float) -> None:
        """Put the cursor on the first entry about an operation, from a time on (seconds since the epoch)."""
        found = next((at for at, entry in enumerate(self.entries) if entry.about == about and entry.time >= since), None)
        if found is not None:
            self.go_to(found)

    def _bring_into_view(self) -> None:
        if self.entries:
            start = self._starts[self.at]
            end = self._starts[self.at + 1] if self.at + 1 < len(self._starts) else len(self._lines)
            top, height = self.scroll_offset.y, max(1, self.scrollable_content_region.height)
            if end > top + height:
                self.scroll_to(y=end - height, animate=False, immediate=True)
            elif start < top:
                self.scroll_to(y=start, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        """Up or down an entry."""
        self.go_to(self.at + by)

    def action_page(self, by: int) -> None:
        """A screenful up or down."""
        self.go_to(self.at + by * max(1, self.scrollable_content_region.height - 2))

    def action_end(self, last: bool) -> None:
        """The first, or the last, which is followed from then on."""
        self.go_to(len(self.entries) if last else 0)

    def action_hit(self, by: int) -> None:
        """To the next hit below, or above; round at the ends."""
        hits = self.hits
        if hits:
            beyond = [at for at in hits if (at - self.at) * by > 0]
            self.go_to((beyond or hits)[0 if by > 0 else -1])

    def action_levels(self, more: bool) -> None:
        """Show more levels, or fewer."""
        self.level = Level(min(Level.ERROR, max(Level.DEBUG, self.level + (-1 if more else 1))))
        self.read()

    def action_wrap(self) -> None:
        """Long entries on several lines, or cut."""
        self.wrap = not self.wrap
        self.scroll_to(x=0, animate=False, immediate=True)
        self._lay_out()

    def find(self, needle: str) -> None:
        """Highlight *needle* and go to the newest hit."""
        self.needle = needle
        hits = self.hits
        self.go_to(hits[-1] if hits else self.at)

    def on_click(self, event: events.Click) -> None:
        """The cursor goes where one clicks."""
        y = event.y + self.scroll_offset.y
        if y < len(self._lines) and not self.screen.get_selected_text():
            self.go_to(self.entries.index(self._lines[y].entry))

    # -- what others take ------------------------------------------------------------------------------------------------------------

    def copy_text(self) -> str:
        """The entry under the cursor."""
        return self.entry.line if self.entry else ""

    def view(self) -> View:
        """All entries of the levels shown, to be saved."""
        rows = tuple((entry.line[:23], entry.level.word, entry.about, entry.text) for entry in self.entries)
        records = tuple({"time": entry.time, "level": entry.level.word, "about": entry.about, "text": entry.text} for entry in self.entries)
        return View("log", tuple(entry.line for entry in self.entries), ("TIME", "LEVEL", "ABOUT", "TEXT"), rows, records)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text that the mouse has marked."""
        return selection.extract("\n".join("".join(line.head(self._head)) + line.text for line in self._lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Paint it."""
        self.refresh()

    # -- painting --------------------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Line *y* of the screen."""
        width = self.scrollable_content_region.width
        left, top = self.scroll_offset
        at = y + top
        base = self.rich_style
        if at >= len(self._lines):
            text = " nothing of this level yet; + shows more" if not self._lines and y == 0 else ""
            return Strip([Segment(text, self.get_component_rich_style("log--dim"))]).adjust_cell_length(width, base)
        line = self._lines[at]
        if self.entry is line.entry and self.has_focus:
            base += self.get_component_rich_style("log--cursor", partial=True)
        level = base + self.get_component_rich_style(f"log--{line.entry.level.word}", partial=True)
        dim = base + self.get_component_rich_style("log--dim", partial=True)
        clock, word = line.head(self._head)
        # Dim text would be hard to read under the cursor.
        faint = base if self.has_focus and self.entry is line.entry else dim
        pieces = [Segment(clock, faint), Segment(word, level), *self._lit(line.text, level if line.entry.level >= Level.WARNING else base)]
        strip = Strip(pieces).crop(left, left + width).adjust_cell_length(width, base)
        return self._marked(strip, at).apply_offsets(left, at)

    def _lit(self, text: str, plain: Style) -> list[Segment]:
        """*text* with the search hits highlighted."""
        needle = self.needle.casefold()
        folded = text.casefold()
        hit = self.get_component_rich_style("log--hit")
        if not needle or len(folded) != len(text):
            return [Segment(text, plain)]
        pieces, start = [], 0
        while (found := folded.find(needle, start)) >= 0:
            pieces += [Segment(text[start:found], plain), Segment(text[found : found + len(needle)], hit)]
            start = found + len(needle)
        return [*pieces, Segment(text[start:], plain)]

    def _marked(self, strip: Strip, at: int) -> Strip:
        """*strip* with the selection of the mouse in its colours."""
        span = self.text_selection.get_span(at) if self.text_selection is not None else None
        if span is None:
            return strip
        start, end = span[0], strip.cell_length if span[1] == -1 else span[1]
        style = Style(bgcolor=self.screen.get_component_rich_style("screen--selection").bgcolor)
        middle = strip.crop(start, end)
        return Strip.join(
            [strip.crop(0, start), Strip([Segment(piece.text, (piece.style or Style.null()) + style) for piece in middle]), strip.crop(end)]
        )
