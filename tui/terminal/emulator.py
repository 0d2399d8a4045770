"""The screen of a terminal. pyte emulates; this turns its lines into cells, and its state into a value that a layer can keep."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pyte import charsets
from pyte.screens import Char, Cursor, Savepoint

from lamina.tui.terminal.vt import ACCENTS, Screen, Stream, width

_VERSION = 1
_FLAGS = ("bold", "italics", "underscore", "strikethrough", "reverse", "blink")
_LIMIT = 1000
# The longest unfinished control sequence, bytes.
_UNFINISHED = 1 << 15


@dataclass(frozen=True)
class Cells:
    """Neighbouring cells of one style: text, colours as pyte names them ("default", "red", "ff8700"), and which of `_FLAGS`."""

    text: str
    fg: str
    bg: str
    flags: tuple[str, ...]


class Emulator:
    """What a terminal shows."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], None]) -> None:
        """A blank screen. *answer* is called with the terminal's answers to the program (cursor position, identification)."""
        self._screen = Screen(columns, lines, answer)
        self._stream = Stream(self._screen)

    def answer_to(self, answer: Callable[[bytes], None]) -> None:
        """Call *answer* with the answers from now on."""
        self._screen.answer = answer

    @property
    def size(self) -> tuple[int, int]:
        """Columns, lines."""
        return self._screen.columns, self._screen.lines

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and line of the cursor; None while it is hidden."""
        cursor = self._screen.cursor
        return None if cursor.hidden else (min(cursor.x, self._screen.columns - 1), cursor.y)

    @property
    def application_keys(self) -> bool:
        """Whether cursor keys are sent in their application form (DECCKM)."""
        return 1 << 5 in self._screen.mode

    @property
    def bracketed_paste(self) -> bool:
        """Whether pasted text is bracketed."""
        return 2004 << 5 in self._screen.mode

    def feed(self, data: bytes) -> None:
        """The program wrote *data*."""
        self._stream.feed(data)

    def changed_lines(self) -> frozenset[int]:
        """The lines that have changed since the last call."""
        found = frozenset(self._screen.dirty)
        self._screen.dirty.clear()
        return found

    def resize(self, columns: int, lines: int) -> None:
        """Resize the window. If it becomes lower, empty lines at the bottom go first, then lines at the top."""
        screen = self._screen
        above = self._used - lines
        if lines < screen.lines and above > 0:
            for at in range(lines):
                screen.buffer[at] = screen.buffer[at + above]
            screen.cursor.y -= above
        for at in range(lines, screen.lines):
            screen.buffer.pop(at, None)
        screen.cursor.y = max(0, min(screen.cursor.y, lines - 1))
        if screen.main is not None:
            screen.main = _resized(screen.main, columns, lines, screen.savepoints[0].cursor if screen.savepoints else None)
        screen.lines = lines
        screen.resize(lines, columns)
        screen.set_margins()
        screen.dirty.update(range(lines))

    @property
    def _used(self) -> int:
        """Lines down to the last one that is not empty, or that the cursor is on."""
        written = (
            at for at in reversed(range(self._screen.lines)) if any(char.data.strip() for char in self._chars(self._screen.buffer[at]))
        )
        return 1 + max(self._screen.cursor.y, next(written, 0))

    def line(self, number: int) -> list[Cells]:
        """Line *number*, from 0 at the top."""
        return self._cells(self._screen.buffer[number])

    def _cells(self, row: Any) -> list[Cells]:
        return [Cells("".join(char.data for char in same), *style) for style, same in groupby(self._chars(row), key=_style)]

    def _chars(self, row: Any) -> Iterator[Char]:
        """The cells of a line. The second half of a wide character is empty; a wide character that is cut in half is a blank."""
        column, last = 0, self._screen.columns - 1
        while column <= last:
            char = row[column]
            wide = _width(char.data)
            if wide == 2 and column < last and _width(row[column + 1].data) == 0:
                yield char._replace(data=char.data + row[column + 1].data)
                column += 2
            else:
                yield char if wide == 1 else char._replace(data=" ")
                column += 1

    @property
    def text(self) -> str:
        """The whole screen as text, without blanks at the ends of lines."""
        return "\n".join("".join(char.data for char in self._chars(self._screen.buffer[at])).rstrip() for at in range(self._screen.lines))

    # -- as a value ------------------------------------------------------------------------------------------------------------------

    def save(self) -> str:
        """Its state as JSON: everything that the effect of further output depends on."""
        screen = self._screen
        state: dict[str, Any] = {
            "version": _VERSION, "columns": screen.columns, "lines": screen.lines, "rows": self._rows(screen.buffer),
            "cursor": _place(screen.cursor), "pen": list(_style(screen.cursor.attrs)), "modes": sorted(screen.mode),
            "margins": list(screen.margins) if screen.margins else None,
            "charsets": _charsets(screen), "tabs": sorted(screen.tabstops), "utf8": self._stream.use_utf8,
        }  # fmt: skip
        if screen.main is not None:
            state["main"] = self._rows(screen.main)
        if screen.savepoints:
            saved = screen.savepoints[0]
            state["saved"] = [_place(saved.cursor), list(_style(saved.cursor.attrs)), _charsets(saved), saved.origin, saved.wrap]
        if screen.saved_columns:
            state["columns_before"] = screen.saved_columns
        if self._stream.unfinished:
            state["unfinished"] = self._stream.unfinished.decode("latin-1")
        return json.dumps(state)

    def _rows(self, rows: Any) -> list[list[Any]]:
        blank = self._screen.buffer.default_factory()  # type: ignore[attr-defined]
        lines = (rows.get(at, blank) for at in range(self._screen.lines))
        return [[[cells.text, cells.fg, cells.bg, list(cells.flags)] for cells in self._cells(line)] for line in lines]

    def load(self, text: str) -> None:
        """Show a state that `save` returned. If its size differs, it is cut or filled up with blanks.

        Raises:
            ValueError: it is not such a state.
        """
        try:
            state = json.loads(text)
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}")
            columns, lines = saved_size(text)
            before = self.size
            self._screen.reset()
            self._screen.resize(lines, columns)
            self._screen.mode = {int(mode) for mode in state["modes"]}
            self._load_rows(state["rows"])
            if state.get("main") is not None:
                alternate = dict(self._screen.buffer)
                self._screen.buffer.clear()
                self._load_rows(state["main"])
                self._screen.main = dict(self._screen.buffer)
                self._screen.buffer.clear()
                self._screen.buffer.update(alternate)
            self._load_cursor(state)
            self._stream = Stream(self._screen)
            self._stream.use_utf8 = bool(state.get("utf8", True))
            self._stream.feed(str(state.get("unfinished", "")).encode("latin-1")[:_UNFINISHED])
            if before != self.size:
                self._screen.resize(before[1], before[0])
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError, UnicodeError) as error:
            raise ValueError(f"not the state of a terminal: {error}") from error

    def _load_rows(self, rows: Any) -> None:
        for number, row in enumerate(rows[: self._screen.lines]):
            self._load_row(number, row)

    def _load_row(self, number: int, row: Any) -> None:
        column = 0
        line = self._screen.buffer[number]
        for shown, fg, bg, flags in row:
            for letter in str(shown)[: _LIMIT * 4]:
                if column > self._screen.columns:
                    return
                wide = width(letter)
                if wide < 0:
                    continue  # anybody may have written it, and it is shown on the user's own terminal
                if wide == 0 and column > 0:
                    # An accent on the letter before it.
                    at = column - 1 if line[column - 1].data or column == 1 else column - 2
                    line[at] = line[at]._replace(data=(line[at].data + letter)[: 1 + ACCENTS])
                for data in (letter, "")[:wide] if wide > 0 else ():
                    if column < self._screen.columns:
                        line[column] = _char(data, fg, bg, flags)
                    column += 1

    def _load_cursor(self, state: Any) -> None:
        screen = self._screen
        if state["margins"]:
            top, bottom = state["margins"]
            screen.set_margins(int(top) + 1, int(bottom) + 1)  # which moves the cursor
        screen.cursor = self._cursor(state["cursor"], state["pen"])
        if "charsets" in state:
            screen.charset, screen.g0_charset, screen.g1_charset = _charsets_named(state["charsets"])
        if "tabs" in state:
            screen.tabstops = {int(tab) for tab in state["tabs"][:_LIMIT]}
        if state.get("columns_before"):
            screen.saved_columns = max(1, min(int(state["columns_before"]), _LIMIT))
        if state.get("saved"):
            place, pen, names, origin, wrap = state["saved"]
            charset, g0, g1 = _charsets_named(names)
            screen.savepoints[:] = [Savepoint(self._cursor(place, pen), g0, g1, charset, bool(origin), bool(wrap))]

    def _cursor(self, place: Any, pen: Any) -> Cursor:
        x, y, hidden = place
        fg, bg, flags = pen
        cursor = Cursor(
            max(0, min(int(x), self._screen.columns)), max(0, min(int(y), self._screen.lines - 1)), _char(" ", fg, bg, flags)
        )  # fmt: skip
        cursor.hidden = bool(hidden)
        return cursor


def _place(cursor: Cursor) -> list[Any]:
    return [cursor.x, cursor.y, cursor.hidden]


def _charsets(of: Any) -> list[Any]:
    """Which of the two character sets is in use, and what they are, as the letters that select them (console_codes(4))."""
    names = [next(name for name, charset in charsets.MAPS.items() if charset is it) for it in (of.g0_charset, of.g1_charset)]
    return [of.charset, *names]


def _charsets_named(state: Any) -> tuple[int, str, str]:
    used, g0, g1 = state
    return int(bool(used)), charsets.MAPS[g0], charsets.MAPS[g1]


def _resized(rows: dict[int, Any], columns: int, lines: int, cursor: Cursor | None) -> dict[int, Any]:
    """The main screen, cut as `Emulator.resize` cuts."""
    above = max(0, cursor.y + 1 - lines) if cursor is not None else 0
    if cursor is not None:
        cursor.y -= above
    kept = {at - above: row for at, row in rows.items() if 0 <= at - above < lines}
    for row in kept.values():
        for column in [column for column in row if column >= columns]:
            del row[column]
    return kept


def saved_size(text: str) -> tuple[int, int]:
    """Columns and lines of a state that `Emulator.save` gave.

    Raises:
        ValueError: it is not such a state.
    """
    try:
        state = json.loads(text)
        columns, lines = int(state["columns"]), int(state["lines"])
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not the state of a terminal: {error}") from error
    if not (0 < columns <= _LIMIT and 0 < lines <= _LIMIT):
        raise ValueError("not the state of a terminal: no such size")
    return columns, lines


def _width(data: str) -> int:
    """Columns that the content of a cell takes: 0 for the second half of a wide character."""
    return max(0, width(data[0])) if data else 0


def _char(data: str, fg: Any, bg: Any, flags: Any) -> Char:
    return Char(data, str(fg), str(bg), *(flag in flags for flag in _FLAGS))


def _style(char: Char) -> tuple[str, str, tuple[str, ...]]:
    return char.fg, char.bg, tuple(flag for flag in _FLAGS if getattr(char, flag))
