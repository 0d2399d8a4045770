"""A pseudo terminal of the test's own with lamina in it: bytes come as they are written, many in one read, also before lamina reads any."""

import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import ioctl

from lamina.tui.terminal.emulator import Emulator
from tests.live.harness import PATIENCE_S, ROOT, reap_orphans


class RawTerminal:
    """lamina at the other end of a pseudo terminal."""

    def __init__(self, command: Sequence[str], width: int, height: int) -> None:
        self.ours, theirs = pty.openpty()
        ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        os.set_blocking(self.ours, False)
        self._emulator = Emulator(width, height, self.type)
        env = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("COLUMNS", "LINES"):
            env.pop(name, None)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=ROOT
        )  # fmt: skip
        os.close(theirs)

    def type(self, data: bytes) -> None:
        """Bytes, all at once."""
        while data:
            try:
                data = data[os.write(self.ours, data) :]
            except BlockingIOError:
                self.look(0.01)

    def look(self, seconds: float) -> str:
        """What it shows *seconds* later, or as soon as that changes."""
        if select.select([self.ours], [], [], seconds)[0]:
            with suppress(OSError):
                self._emulator.feed(os.read(self.ours, 1 << 16))
        return self._emulator.text

    def wait_for(self, wanted: str | Callable[[str], bool], patience: float = PATIENCE_S) -> str:
        """Wait until the screen shows *wanted*; returns it."""
        deadline = time.monotonic() + patience
        screen = self._emulator.text
        while not (wanted(screen) if callable(wanted) else wanted in screen):
            assert time.monotonic() < deadline, f"waiting for {wanted!r}, the screen shows:\n{screen}"
            reap_orphans()
            screen = self.look(0.05)
        return screen

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.look(0.05)
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@contextmanager
def raw_terminal(command: Sequence[str], width: int = 100, height: int = 30) -> Iterator[RawTerminal]:
    """A terminal in which *command* runs."""
    found = RawTerminal(command, width, height)
    try:
        yield found
    finally:
        found.close()
