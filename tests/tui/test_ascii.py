"""Terminals that can do little: nothing but ASCII is written where that is promised, and no colour where none is wanted."""

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.cells import cell_len

from lamina.tui.model.glyphs import TABLE, ascii_only, to_ascii
from tests.live.harness import PATIENCE_S, lamina_command

TUI = Path(__file__).parents[2] / "tui"
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


def test_every_sign_is_as_wide_as_its_glyph_and_every_glyph_of_ours_has_one() -> None:
    assert all(sign.isascii() and len(sign) == cell_len(chr(glyph)) == 1 for glyph, sign in TABLE.items())
    used = {letter for file in [*TUI.rglob("*.py"), *TUI.rglob("*.tcss")] for letter in file.read_text() if not letter.isascii()}
    assert not {letter for letter in used if ord(letter) not in TABLE} - {"�"}
    assert to_ascii("lamina · stack │ ●─╯ 3 … 日本 é\u0301") == "lamina : stack | o-+ 3 ~ ???? ?"
    # What lies side by side on a map must stay apart.
    assert len(set(to_ascii(".·░▒▓█*+≈╱"))) == 10


@pytest.mark.parametrize(
    ("environ", "coerced", "plain"),
    [
        ({}, True, False),
        ({"LC_CTYPE": "C.UTF-8"}, True, False),
        ({"LANG": "en_GB.UTF-8"}, False, False),
        ({"LANG": "de_DE.utf8"}, False, False),
        ({"LC_ALL": "C"}, True, True),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, True, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True, True),
        ({"LANG": "de_DE.ISO-8859-1"}, False, True),
        ({"LANG": "C", "LC_CTYPE": "en_GB.UTF-8"}, False, False),
    ],
)
def test_the_locale_says_what_the_terminal_understands(environ: dict[str, str], coerced: bool, plain: bool) -> None:
    assert ascii_only(environ, coerced) is plain


class Line:
    """lamina on a terminal line, and every byte it has written there."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.written = b""

    def until(self, reached: Callable[[bytes], object]) -> bytes:
        """Read on until *reached* by all that was written."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached(self.written):
            assert time.monotonic() < deadline, self.written[-3000:]
            if select.select([self._fd], [], [], 0.2)[0]:
                self.written += os.read(self._fd, 1 << 16)
        return self.written

    def press(self, keys: bytes, wanted: bytes) -> None:
        """Press and wait until *wanted* is written after that."""
        before = len(self.written)
        os.write(self._fd, keys)
        self.until(lambda written: wanted in COLOURS.sub(b"", written[before:]))


@contextmanager
def on_a_line(environ: dict[str, str], *options: str) -> Iterator[Line]:
    """lamina at the other end of a terminal line of 100 by 30 cells."""
    ours, theirs = pty.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "COLORTERM", "NO_COLOR", "TMUX"))}
    program = subprocess.Popen(
        lamina_command(*options), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=kept | environ
    )
    os.close(theirs)
    try:
        yield Line(ours)
    finally:
        program.terminate()
        while program.poll() is None:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    os.read(ours, 1 << 16)
                except OSError:
                    break
        program.wait(PATIENCE_S)
        os.close(ours)


def test_only_ascii_and_no_colour_is_written_where_that_is_asked_for() -> None:
    with on_a_line({"LC_ALL": "C", "TERM": "screen-16color", "NO_COLOR": "1"}) as line:
        line.until(lambda written: b"PID" in written)
        line.press(b"5", b"jobs")
        line.press(b"?", b"Esc")
        line.press(b"q3", b"lamina : stack")
        written = line.written
    assert b"+-" in COLOURS.sub(b"", written) and written.isascii()
    codes = {int(code or 0) for found in COLOURS.findall(written) for code in found[2:-1].split(b";")}
    # 0 to 9 are bold, dim and the like; 39 and 49 the terminal's own colours.
    assert codes - {39, 49} <= set(range(10)) | {22, 23, 24, 27}, codes
    assert 7 in codes, "the cursor is turned round"


def test_16_colours_are_the_terminals_own() -> None:
    with on_a_line({"LANG": "C.UTF-8", "TERM": "linux"}, "--no-mouse") as line:
        line.until(lambda written: b"PID" in written)
        line.press(b"5", b"jobs")
        written = line.written
    assert b"\x1b[?1000h" not in written, "the mouse is left to the terminal"
    assert not re.search(rb"\x1b\[[0-9;]*[34]8;", written), "neither 256 colours nor RGB"
    assert re.search(rb"\x1b\[[0-9;]*3[0-7]", written)
