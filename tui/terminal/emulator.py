"""The screen of a terminal: pyte does the emulation; here are its lines as cells, and its state as a value that a layer can keep."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from unicodedata import combining

import pyte
from pyte.screens import Char, Cursor
from wcwidth import wcwidth

_VERSION = 1
_FLAGS = ("bold", "italics", "underscore", "strikethrough", "reverse", "blink")
_LIMIT = 1000
# Accents on one letter; the rest of a pile of them is left out.
_ACCENTS = 8


@dataclass(frozen=True)
class Cells:
    """Neighbouring cells of one style: text, colours as pyte names them ("default", "red", "ff8700"), and which of `_FLAGS`."""

    text: str
    fg: str
    bg: str
    flags: tuple[str, ...]


class _Screen(pyte.Screen):
    """Answers that a program asks for go back to it."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        super().__init__(columns, lines)

    def draw(self, data: str) -> None:
        """Show text. Accents are not piled up for ever on one letter: each would copy all those before it."""
        super().draw(data)
        x, y = self.cursor.x - 1, self.cursor.y
        row, at = (self.buffer[y], x) if x >= 0 else (self.buffer[y - 1], self.columns - 1)
        if (x >= 0 or y > 0) and len(row[at].data) > _ACCENTS + 1:
            row[at] = row[at]._replace(data=row[at].data[: _ACCENTS + 1])

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())


class _Forgiving:
    """The screen as the parser sees it: a sequence that it does not know, or that means nothing, is left out."""

    def __init__(self, screen: _Screen) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._screen, name)

        def call(*values: Any, **named: Any) -> None:
            with suppress(Exception):  # of a library, over what anybody may write
                found(*values, **named)

        return call


class Emulator:
    """What a terminal shows."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], None]) -> None:
        """A blank screen; *answer* gets the terminal's answers to the program (its cursor position, what it is)."""
        self._screen = _Screen(columns, lines, answer)
        self._stream = pyte.ByteStream(_Forgiving(self._screen), strict=False)

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
        """Whether cursor keys are to be sent in their application form (DECCKM)."""
        return 1 << 5 in self._screen.mode

    @property
    def bracketed_paste(self) -> bool:
        """Whether pasted text is to be bracketed."""
        return 2004 << 5 in self._screen.mode

    def feed(self, data: bytes) -> None:
        """The program wrote *data*."""
        self._stream.feed(data)

    def changed_lines(self) -> frozenset[int]:
        """The lines that look different since this was last asked."""
        found = frozenset(self._screen.dirty)
        self._screen.dirty.clear()
        return found

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size. Of one that is lower the empty lines below go first, then what is above."""
        screen = self._screen
        above = self._used - lines
        if lines < screen.lines and above > 0:
            for at in range(lines):
                screen.buffer[at] = screen.buffer[at + above]
            screen.cursor.y -= above
        for at in range(lines, screen.lines):
            screen.buffer.pop(at, None)
        screen.cursor.y = max(0, min(screen.cursor.y, lines - 1))
        screen.lines = lines
        screen.resize(lines, columns)
        screen.set_margins()
        screen.dirty.update(range(lines))

    @property
    def _used(self) -> int:
        """Lines down to the last one that is not empty, or that the cursor is on."""
        written = (at for at in reversed(range(self._screen.lines)) if any(char.data.strip() for char in self._chars(at)))
        return 1 + max(self._screen.cursor.y, next(written, 0))

    def line(self, number: int) -> list[Cells]:
        """Line *number*, from 0 at the top."""
        return [Cells("".join(char.data for char in same), *style) for style, same in groupby(self._chars(number), key=_style)]

    def _chars(self, number: int) -> Iterator[Char]:
        """The cells of a line, as wide together as the line: the second half of a wide character is empty, half of one is a blank."""
        row = self._screen.buffer[number]
        column, last = 0, self._screen.columns - 1
        while column <= last:
            char = row[column]
            width = _width(char.data)
            if width == 2 and column < last and _width(row[column + 1].data) == 0:
                yield char._replace(data=char.data + row[column + 1].data)
                column += 2
            else:
                yield char if width == 1 else char._replace(data=" ")
                column += 1

    @property
    def text(self) -> str:
        """All of it, without colours; blanks at the ends of lines left out."""
        return "\n".join("".join(char.data for char in self._chars(at)).rstrip() for at in range(self._screen.lines))

    # -- as a value ------------------------------------------------------------------------------------------------------------------

    def save(self) -> str:
        """Its state as JSON."""
        screen = self._screen
        return json.dumps(
            {
                "version": _VERSION, "columns": screen.columns, "lines": screen.lines,
                "rows": [[[cells.text, cells.fg, cells.bg, list(cells.flags)] for cells in self.line(at)] for at in range(screen.lines)],
                "cursor": [screen.cursor.x, screen.cursor.y, screen.cursor.hidden], "pen": list(_style(screen.cursor.attrs)),
                "modes": sorted(screen.mode), "margins": list(screen.margins) if screen.margins else None,
            }
        )  # fmt: skip

    def load(self, text: str) -> None:
        """Show a state that `save` gave. Of another size it is cut or filled up with blanks.

        Raises:
            ValueError: it is none.
        """
        try:
            state = json.loads(text)
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}")
            columns, lines = saved_size(text)
            before = self.size
            self._screen.reset()
            self._screen.resize(lines, columns)
            for number, row in enumerate(state["rows"][:lines]):
                self._load_row(number, row)
            self._load_modes(state)
            self._screen.resize(before[1], before[0])
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not the state of a terminal: {error}") from error

    def _load_row(self, number: int, row: Any) -> None:
        column = 0
        line = self._screen.buffer[number]
        for shown, fg, bg, flags in row:
            for letter in str(shown)[: _LIMIT * 4]:
                if column > self._screen.columns:
                    return
                width = wcwidth(letter)
                if width < 0 or (width == 0 and not combining(letter)):
                    continue  # anybody may have written it, and it goes to the user's own terminal
                if width == 0 and column > 0:
                    # An accent of the letter before it.
                    at = column - 1 if line[column - 1].data or column == 1 else column - 2
                    line[at] = line[at]._replace(data=(line[at].data + letter)[: 1 + _ACCENTS])
                for data in (letter, "")[:width] if width > 0 else ():
                    if column < self._screen.columns:
                        line[column] = _char(data, fg, bg, flags)
                    column += 1

    def _load_modes(self, state: Any) -> None:
        screen = self._screen
        screen.mode = {int(mode) for mode in state["modes"]}
        x, y, hidden = state["cursor"]
        fg, bg, flags = state["pen"]
        pen = _char(" ", fg, bg, flags)
        if state["margins"]:
            top, bottom = state["margins"]
            screen.set_margins(int(top) + 1, int(bottom) + 1)  # which moves the cursor
        screen.cursor = Cursor(max(0, min(int(x), screen.columns)), max(0, min(int(y), screen.lines - 1)), pen)
        screen.cursor.hidden = bool(hidden)


def saved_size(text: str) -> tuple[int, int]:
    """Columns and lines of a state that `Emulator.save` gave.

    Raises:
        ValueError: it is none.
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
    return max(0, wcwidth(data[0])) if data else 0


def _char(data: str, fg: Any, bg: Any, flags: Any) -> Char:
    return Char(data, str(fg), str(bg), *(flag in flags for flag in _FLAGS))


def _style(char: Char) -> tuple[str, str, tuple[str, ...]]:
    return char.fg, char.bg, tuple(flag for flag in _FLAGS if getattr(char, flag))
