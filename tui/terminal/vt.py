"""pyte, with what it lacks and programs need: an alternate screen, one saved cursor as in xterm, limits, and the same screen however the
output is cut into portions (console_codes(4), XTerm control sequences). Sequences that pyte does not know are withheld from it, as it would
print the rest of them.
"""

import copy
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from unicodedata import category

import pyte
from pyte import charsets, control, modes
from pyte.screens import Char
from wcwidth import wcwidth

# Accents on one letter; more are left out.
ACCENTS = 8
# Characters. A longer control sequence is not one; the rest of a longer title is left out.
_LONGEST = 4096
_PRIVATE = 5
_ALTERNATE = {47 << _PRIVATE, 1047 << _PRIVATE, 1049 << _PRIVATE}
_SAVING = 1049 << _PRIVATE
_SAVE_CURSOR = 1048 << _PRIVATE
_IDENTITY = charsets.LAT1_MAP
# These are carried out at once, even in the middle of a sequence.
_AT_ONCE = {control.BEL, control.BS, control.HT, control.LF, control.VT, control.FF, control.CR}
_CSI_BEGINS = (control.ESC + "[", control.CSI_C1)
# Strings for the terminal (OSC); for a device (DCS), a program (APC), privately (PM), of no meaning (SOS), a title as screen has it.
_OSC_BEGINS = (control.ESC + "]", control.OSC_C1)
_UNKNOWN_STRINGS = tuple(control.ESC + letter for letter in "P_^Xk")
# Withheld from the parser until it is known what they begin.
_BEGINNINGS = {control.ESC, *_CSI_BEGINS, *_UNKNOWN_STRINGS}
_OSC_ENDS = {control.BEL, control.ST_C1}
# Nearly all control sequences: nothing in them has to be withheld from the parser.
_COMMON = re.compile(r"\x1b\[\??[0-9;]{0,64}[@-Z`-~]").match
# What comes between the beginning of a control sequence and its last letter (ECMA-48, 5.4).
_IN_CSI = {chr(code) for code in range(0x20, 0x40)}
_VARIATIONS = range(0xFE00, 0xFE10)


@lru_cache(4096)
def width(char: str) -> int:
    """How many columns *char* takes: 0 for an accent on the letter before it, -1 for what is not shown at all.

    Joiners and variation selectors are not shown: terminals do not agree on the width of what they make, and the user's may be any.
    """
    found = wcwidth(char)
    return -1 if found == 0 and (category(char)[0] != "M" or ord(char) in _VARIATIONS) else found


class Screen(pyte.Screen):
    """The screen.

    Attributes:
        answer: called with the answers that a program asks for.
        main: the main screen while the alternate one is shown; else None.
    """

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], None]) -> None:
        self.answer = answer
        self.main: dict[int, Any] | None = None
        self._pen: Char | None = None
        self._cells: dict[str, Char] = {}
        super().__init__(columns, lines)

    def write_process_input(self, data: str) -> None:
        """Answer the program; pyte calls this."""
        self.answer(data.encode())

    def reset(self) -> None:
        """Reset to the state after switching on."""
        super().reset()
        self.main = None
        self.savepoints.clear()

    # -- text ------------------------------------------------------------------------------------------------------------------------

    def draw(self, data: str) -> None:
        """Show text, leaving out what has no width and is not an accent."""
        charset = self.g1_charset if self.charset else self.g0_charset
        if charset is not _IDENTITY:
            data = data.translate(charset)
        cursor = self.cursor
        if self._pen is not cursor.attrs:
            self._pen, self._cells = cursor.attrs, {}
        wraps, inserts = modes.DECAWM in self.mode, modes.IRM in self.mode
        for char in data:
            wide = 1 if " " <= char <= "~" else width(char)
            if wide < 0:
                continue
            if wide == 0:
                self._accent(char)
                continue
            if cursor.x == self.columns:
                if wraps:
                    self.dirty.add(cursor.y)
                    self.carriage_return()
                    self.linefeed()
                else:
                    cursor.x -= wide
            if inserts:
                self.insert_characters(wide)
            line = self.buffer[cursor.y]
            cell = self._cells.get(char)
            if cell is None:
                if len(self._cells) > 1024:
                    self._cells.clear()
                cell = self._cells[char] = cursor.attrs._replace(data=char)
            line[cursor.x] = cell
            if wide == 2 and cursor.x + 1 < self.columns:
                line[cursor.x + 1] = cursor.attrs._replace(data="")
            cursor.x = min(cursor.x + wide, self.columns)
        self.dirty.add(cursor.y)

    def _accent(self, char: str) -> None:
        """Put an accent on the letter before the cursor. Their number is limited, as each one copies all those before it."""
        x, y = self.cursor.x - 1, self.cursor.y
        if x < 0:
            x, y = self.columns - 1, y - 1
        if y < 0:
            return
        row = self.buffer[y]
        if not row[x].data and x > 0:
            x -= 1  # the letter is wide
        if len(row[x].data) <= ACCENTS:
            row[x] = row[x]._replace(data=row[x].data + char)
            self.dirty.add(y)

    # -- what pyte does only to cells and lines that were written before ---------------------------------------------------------------

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        """Erase; the erased cells get the current colours."""
        wanted = {0: range(self.cursor.y + 1, self.lines), 1: range(self.cursor.y)}.get(how, range(self.lines))
        for y in wanted:
            self.buffer[y].update(dict.fromkeys(range(self.columns), self.cursor.attrs))
        super().erase_in_display(how, *args, **kwargs)

    def delete_lines(self, count: int | None = None) -> None:
        """Delete lines; blank lines move up, too."""
        for y in range(self.lines):
            self.buffer[y]
        super().delete_lines(count)

    def insert_characters(self, count: int | None = None) -> None:
        """Insert blanks; what is pushed out of the line is lost."""
        super().insert_characters(count)
        self.buffer[self.cursor.y].pop(self.columns, None)

    # -- the saved cursor, and the alternate screen ------------------------------------------------------------------------------------

    def save_cursor(self) -> None:
        """Save the cursor; there is only one saved cursor."""
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        """Restore the cursor, which stays saved and may be outside the scrolling region."""
        kept = [saved._replace(cursor=copy.copy(saved.cursor)) for saved in self.savepoints]
        super().restore_cursor()
        self.savepoints[:] = kept
        if kept and not kept[0].origin:
            self.cursor.y = min(kept[0].cursor.y, self.lines - 1)

    def set_mode(self, *wanted: int, **how: Any) -> None:
        """Set modes: besides those of pyte 47, 1047, 1048 and 1049."""
        numbers = {mode << _PRIVATE for mode in wanted} if how.get("private") else set()
        if numbers & {_SAVING, _SAVE_CURSOR}:
            self.save_cursor()
        super().set_mode(*wanted, **how)
        if numbers & _ALTERNATE and (self.main is None or _SAVING in numbers):
            self.main = dict(self.buffer) if self.main is None else self.main
            self._show({})

    def reset_mode(self, *wanted: int, **how: Any) -> None:
        """Reset modes, the same ones."""
        numbers = {mode << _PRIVATE for mode in wanted} if how.get("private") else set()
        super().reset_mode(*wanted, **how)
        if numbers & _ALTERNATE and self.main is not None:
            self.mode -= _ALTERNATE
            main, self.main = self.main, None
            self._show(main)
        if numbers & {_SAVING, _SAVE_CURSOR} and self.savepoints:
            self.restore_cursor()

    def _show(self, rows: dict[int, Any]) -> None:
        self.buffer.clear()
        self.buffer.update(rows)
        self.dirty.update(range(self.lines))


class _Forgiving:
    """The screen as the parser sees it: unknown and meaningless sequences are ignored."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._screen, name)

        def call(*values: Any, **named: Any) -> None:
            with suppress(Exception):  # the exceptions of a library, for whatever a program may write
                found(*values, **named)

        return call


class Stream(pyte.ByteStream):
    """Separates text from control sequences, and knows an unfinished one."""

    def __init__(self, screen: Screen) -> None:
        self._unfinished = ""
        super().__init__(_Forgiving(screen), strict=False)

    @property
    def unfinished(self) -> bytes:
        """The beginning of a character or control sequence that is not finished. A new stream that is fed with it is in the same state."""
        begun = self._unfinished
        if begun and not begun.startswith(_OSC_BEGINS):
            begun = "".join(char for char in begun if char not in _AT_ONCE)
        return begun.encode() + self.utf8_decoder.getstate()[0] if self.use_utf8 else begun.encode("latin-1")

    def feed(self, data: bytes) -> None:  # type: ignore[override]
        """Process what the program wrote. Text after a choice of the character set is decoded accordingly."""
        at = 0
        if self._unfinished in (control.ESC, control.ESC + "%"):
            at = 2
            self._feed(data[:1])
            self._feed(data[1:2])
        while (found := data.find(b"\x1b%", at)) >= 0:
            self._feed(data[at : found + 3])
            at = found + 3
        self._feed(data[at:])

    def _feed(self, data: bytes) -> None:
        """pyte's own loop, which does not tell where a sequence began, and raises on wrong ones."""
        text = self.utf8_decoder.decode(data) if self.use_utf8 else data.decode("latin-1")
        assert self.listener is not None
        draw, plain = self.listener.draw, self._text_pattern.match
        at, end = 0, len(text)
        while at < end:
            if not self._unfinished:
                found = plain(text, at)
                if found:
                    at = found.end()
                    draw(found[0])
                    continue
                found = _COMMON(text, at)
                if found:
                    at = found.end()
                    self._parse(found[0])
                    continue
            self._take(text[at])
            at += 1

    def _take(self, char: str) -> None:
        begun = self._unfinished
        if begun + char in _BEGINNINGS:
            self._unfinished = begun + char
        elif begun == control.ESC:
            self._unfinished = ""
            self._parse(begun + char)
        elif begun.startswith(_CSI_BEGINS):
            self._take_of_csi(char)
        elif begun.startswith(_UNKNOWN_STRINGS):
            ends = char == "\\" and begun.endswith(control.ESC)
            self._unfinished = "" if ends else _without_end(begun, char)
        elif len(begun) >= _LONGEST and begun.startswith(_OSC_BEGINS):
            # Its end is awaited without the parser, which would keep all of it.
            if char in _OSC_ENDS or (char == "\\" and begun.endswith(control.ESC)):
                self._begin_anew()
            else:
                self._unfinished = _without_end(begun, char)
        else:
            if len(begun) >= _LONGEST:
                self._begin_anew()
            self._parse(char)

    def _parse(self, text: str) -> None:
        for char in text:
            try:
                done = self._send_to_parser(char)
            except Exception:
                done = True  # the parser begins again
            self._unfinished = "" if done else self._unfinished + char

    def _take_of_csi(self, char: str) -> None:
        """Give the parser a control sequence when it is complete and one that pyte knows."""
        begun, self._unfinished = self._unfinished, ""
        if char in _AT_ONCE:
            self._parse(char)
            self._unfinished = begun
        elif char in _IN_CSI and len(begun) < _LONGEST:
            self._unfinished = begun + char
        elif char == control.ESC:
            self._unfinished = char
        elif "@" <= char <= "~":
            self._parse(_known(begun + char))

    def _begin_anew(self) -> None:
        self._initialize_parser()
        self._unfinished = ""


def _without_end(begun: str, char: str) -> str:
    """What is kept of an unfinished string: its beginning, and whether *char* may begin its end."""
    return begun[:_LONGEST].removesuffix(control.ESC) + (char if char == control.ESC else "")


def _known(sequence: str) -> str:
    """The control sequence in a form that pyte knows; "" if it knows none."""
    begin = 1 if sequence[0] == control.CSI_C1 else 2
    inside, last = sequence[begin:-1], sequence[-1]
    if inside[:1] in {"<", "=", ">"} or any(" " <= char <= "/" for char in inside):
        return ""
    if ":" in inside:
        inside = ";".join(filter(None, map(_style, inside.split(";")))) if last == "m" else ""
        if not inside:
            return ""
    return control.ESC + "[" + inside + last


def _style(parts: str) -> str:
    """An attribute with colons (ITU-T T.416, 13.1.8), rewritten with semicolons; "" if pyte does not know it."""
    what, *rest = parts.split(":")
    if not rest:
        return what
    if what == "4":
        return "24" if rest[0] == "0" else "4"
    if what in {"38", "48"}:
        match rest:
            case ["5", colour]:
                return f"{what};5;{colour}"
            case ["2", red, green, blue] | ["2", _, red, green, blue, *_]:
                return f"{what};2;{red};{green};{blue}"
    return ""
