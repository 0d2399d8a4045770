"""The screen of a program's terminal: text, colours, cursor. What is typed here is read by the program."""

import time
from collections.abc import Callable
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from lamina.tui.terminal.emulator import Cells, Emulator
from lamina.tui.terminal.key_codes import bytes_of, pasted
from lamina.tui.terminal.terminal import Terminal

_FRAME_S = 1 / 30
# As pyte names them. "brown" is dark yellow, as the first terminals showed it.
_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
_ANSI = {name: number for number, name in enumerate(_NAMES)} | {f"bright{name}": 8 + number for number, name in enumerate(_NAMES)}
_EMPTY = (
    "No program here yet.",
    "",
    "^n  starts one: python3, vim, a shell. All keys but ^g go to it then;",
    "    ^g d takes a layer, which keeps what its terminal shows,",
    "    ^g r brings the program and its screen back.",
    "",
    "A program that had a terminal elsewhere comes back here, too:",
    "3  its stack, then r on a layer.",
)


class TerminalView(Widget, can_focus=True):
    """What a terminal shows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"terminal--note", "terminal--empty"}

    def __init__(self, ahead: Callable[[], bytearray | None], id: str | None = None) -> None:
        """*ahead* gives the buffer for what is typed while a program is on its way; None if none is."""
        super().__init__(id=id)
        self._ahead = ahead
        self.terminal: Terminal | None = None
        self.note = ""
        self._painted = 0.0
        self._due = False
        self._cursor_line = 0

    # -- what is shown ---------------------------------------------------------------------------------------------------------------

    def show(self, terminal: Terminal | None, note: str = "") -> None:
        """Show *terminal*, with *note* over one of its lines, for what the program can no longer say."""
        self.terminal, self.note = terminal, note
        if terminal is not None:
            terminal.resize(*self.size)
        self.refresh()

    def say(self, note: str) -> None:
        """Show *note* over a line; "" for none."""
        if note != self.note:
            self.note = note
            self.refresh()

    def changed(self) -> None:
        """The terminal shows something else: paint it, but not more than 30 times a second."""
        wait = self._painted + _FRAME_S - time.monotonic()
        if not self._due and wait <= 0:
            self._paint()
        elif not self._due:
            self._due = True
            self.set_timer(wait, self._paint)

    def _paint(self) -> None:
        self._due, self._painted = False, time.monotonic()
        if self.terminal is not None:
            emulator = self.terminal.emulator
            cursor = emulator.cursor
            lines = {*emulator.changed_lines(), self._cursor_line, cursor[1] if cursor else 0}
            self._cursor_line = cursor[1] if cursor else 0
            self.refresh(*(Region(0, line, self.size.width, 1) for line in lines if line < self.size.height))

    def render_line(self, y: int) -> Strip:
        """Line *y* of the terminal."""
        width, style = self.size.width, self.rich_style
        if self.terminal is None:
            text = _EMPTY[y - 1] if 0 < y <= len(_EMPTY) else ""
            return Strip([Segment(f"  {text}", self.get_component_rich_style("terminal--empty"))]).adjust_cell_length(width, style)
        emulator = self.terminal.emulator
        if self.note and y == self._note_line(emulator.cursor, emulator.size[1]):
            return Strip([Segment(f" {self.note}", self.get_component_rich_style("terminal--note"))]).adjust_cell_length(
                width, self.get_component_rich_style("terminal--note")
            )
        if y >= emulator.size[1]:
            return Strip.blank(width, style)
        strip = Strip([Segment(cells.text, style + _style(cells)) for cells in emulator.line(y)])
        cursor = emulator.cursor
        if cursor is not None and cursor[1] == y and self.terminal.alive:
            strip = _lit(strip, cursor[0], cursor[0] + 1, Style(reverse=True) if self.has_focus else Style(underline=True))
        span = self.text_selection.get_span(y) if self.text_selection is not None else None
        if span is not None:
            strip = _lit(strip, span[0], span[1] if span[1] >= 0 else width, self.screen.get_component_rich_style("screen--selection"))
        return strip.adjust_cell_length(width, style).apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What the mouse marked, as text."""
        return (selection.extract(self.terminal.emulator.text), "\n") if self.terminal is not None else None

    def selection_updated(self, selection: Selection | None) -> None:
        """Something else is marked."""
        self.refresh()

    def _note_line(self, cursor: tuple[int, int] | None, lines: int) -> int:
        """The line of the note: below what the program wrote last, if there is room."""
        return min((cursor[1] if cursor else lines) + 1, self.size.height - 1)

    # -- what is typed ---------------------------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Send it to the program. Keys that are lamina's do not come here (`LaminaApp.run_bindings`)."""
        if self._type(lambda emulator: bytes_of(event.key, event.character, emulator is not None and emulator.application_keys)):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Send all of it to the program."""
        if self._type(lambda emulator: pasted(event.text, emulator is not None and emulator.bracketed_paste)):
            event.stop()

    def _type(self, as_bytes: Callable[[Emulator | None], bytes]) -> bool:
        """Whether there is a program to type to."""
        ahead = self._ahead()
        if ahead is not None:
            ahead += as_bytes(None)
        elif self.terminal is not None and self.terminal.alive:
            self.terminal.write(as_bytes(self.terminal.emulator))
        else:
            return False
        return True

    def on_resize(self) -> None:
        """Resize the program's window."""
        if self.terminal is not None:
            self.terminal.resize(*self.size)


def _style(cells: Cells) -> Style:
    flags = cells.flags
    return Style(
        color=_colour(cells.fg), bgcolor=_colour(cells.bg), bold="bold" in flags or None, italic="italics" in flags or None,
        underline="underscore" in flags or None, strike="strikethrough" in flags or None, reverse="reverse" in flags or None,
        blink="blink" in flags or None,
    )  # fmt: skip


def _colour(name: str) -> Color | None:
    if name in _ANSI:
        return Color.from_ansi(_ANSI[name])
    return Color.parse(f"#{name}") if len(name) == 6 and all(letter in "0123456789abcdefABCDEF" for letter in name) else None


def _lit(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """*strip* with *style* on the cells from *start* to before *end*."""
    before, within, after = strip.crop(0, start), strip.crop(start, end), strip.crop(end)
    return Strip.join([before, Strip([Segment(it.text, (it.style or Style()) + style) for it in within]), after])
