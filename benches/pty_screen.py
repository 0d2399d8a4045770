"""A terminal as a person has it: a program on a pseudo terminal, and what it draws there. Every byte is taken as soon as it comes."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyte

COLUMNS, LINES = 110, 36
PATIENCE_S = 300.0
_CHUNK = 1 << 16


class PtyScreen:
    """One program and its screen. Use as a context manager: at the end the program is ended by its pid and reaped."""

    def __init__(self, command: Sequence[object], env: dict[str, str], columns: int = COLUMNS, lines: int = LINES) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | env | terminal,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> "PtyScreen":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.perf_counter() + PATIENCE_S
        # Something has to read what it says to the end, or it waits for ever.
        while self.process.poll() is None and time.perf_counter() < deadline:
            self.take(0.02)
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def take(self, patience: float) -> bool:
        """Show what came within *patience* seconds, at most one read; False if nothing did."""
        if not select.select([self._master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._master, _CHUNK)
        except OSError:
            return False  # it has ended
        self._stream.feed(data)
        return True

    def rest(self, seconds: float) -> None:
        """Let it work and paint for a while."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.take(left)

    def wait_for(self, wanted: "Callable[[PtyScreen], object] | str", patience: float = PATIENCE_S) -> float:
        """Wait until the screen shows *wanted*, a text or what a function says; returns when that was, `time.perf_counter()`.

        Raises:
            TimeoutError: it does not come to show it.
        """
        deadline = time.perf_counter() + patience
        while not (wanted in self.text if isinstance(wanted, str) else wanted(self)):
            left = deadline - time.perf_counter()
            if left <= 0 or self.process.poll() is not None:
                raise TimeoutError(f"waiting for {wanted!r}, the screen shows:\n{self.text}")
            self.take(min(left, 0.2))
        return time.perf_counter()

    def type(self, keys: bytes) -> None:
        """Type *keys*."""
        os.write(self._master, keys)

    def latency_ms(self, key: bytes, seen: "Callable[[PtyScreen], Any]") -> float:
        """From a keypress until what *seen* makes of the screen is something else, ms."""
        while self.take(0):
            pass
        before = seen(self)
        began = time.perf_counter()
        self.type(key)
        return (self.wait_for(lambda screen: seen(screen) != before) - began) * 1e3

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self._screen.display)

    def line(self, number: int) -> str:
        """One line, from 0 at the top."""
        row = self._screen.buffer[number]
        return "".join(row[column].data for column in range(self._screen.columns))

    def grounds(self, column: int, first: int, last: int) -> tuple[str, ...]:
        """The background colours down a column: where the bar of a list is."""
        return tuple(self._screen.buffer[line][column].bg for line in range(first, last))
