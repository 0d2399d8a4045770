"""One program in a terminal of ours, on the event loop: what it writes is emulated in small portions, so that keys come through."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lamina.core.errors import TargetError
from lamina.tui.terminal.emulator import Emulator, saved_size
from lamina.tui.terminal.leader import Held, Size
from lamina.tui.terminal.pty import Pty

# A portion is emulated in less time than one notices; after one that took longer than this others have their turn.
_PORTION = 4096
_SHARE_S = 0.002
_TYPED_AHEAD = 1 << 20
_PATIENCE_S = 3.0


class Terminal:
    """A terminal and the program in it, and its successors after each restore.

    Attributes:
        pid: the program; name: what to call it.
        emulator: what the terminal shows; another one after a restore.
        alive: the program runs.
        stack: where its layers are, once that is known.
        ending: how it ended, in words; "" while it runs.
    """

    def __init__(self, size: Size, changed: Callable[["Terminal"], None]) -> None:
        """*changed* is called whenever it shows something else, or ended."""
        self.pid, self.name = 0, ""
        self.alive, self.ending = False, ""
        self.stack: Path | None = None
        self._size = size
        self._changed = changed
        self._pty: Pty | None = None
        self._leader = -1
        self._reading = False
        self._typed = bytearray()
        self.emulator = Emulator(*size, self.write)

    # -- the program -----------------------------------------------------------------------------------------------------------------

    def hold(self, held: Held) -> None:
        """Show *held* from now on; what was in the terminal before has ended, or does.

        Raises:
            ValueError: what it showed cannot be read; it runs, on a blank screen.
        """
        self._let_go()
        self.pid, self.name, self.alive, self.ending = held.pid, held.name, True, ""
        loop = asyncio.get_running_loop()
        self._pty, self._leader = held.pty, os.pidfd_open(held.pty.pid)
        loop.add_reader(self._leader, self._ended)
        try:
            if held.shown is not None:
                self._show(held.shown)
        finally:
            self._resume()
            # After a restore the terminal had the size of that layer, which the program still believes in: it draws itself anew.
            self._set_size()
            self._changed(self)

    def _show(self, shown: str) -> None:
        self.emulator = Emulator(*self._size, self.write)
        if shown:
            emulator = Emulator(*saved_size(shown), self.write)
            emulator.load(shown)
            self.emulator = emulator

    def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pty is not None:
            loop.remove_reader(self._pty.master)
            loop.remove_writer(self._pty.master)
            self._typed.clear()
            self._pty.close()
        if self._leader >= 0:
            # It may still be on its way out, and nobody else waits for it.
            loop.add_reader(self._leader, _reap, self._leader)
        self._pty, self._leader, self._reading = None, -1, False

    def _ended(self) -> None:
        """The leader has ended, and with it the program. What it wrote last is still to be read."""
        self._pump(1 << 20)
        asyncio.get_running_loop().remove_reader(self._leader)
        try:
            found = os.waitid(os.P_PIDFD, self._leader, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            found = None
        os.close(self._leader)
        self._leader = -1
        self.alive, self.ending = False, _in_words(found.si_status if found and found.si_code == os.CLD_EXITED else None)
        self._changed(self)

    async def close(self) -> None:
        """Hang up, so that the program is told by SIGHUP, and wait until it has ended, but not for long."""
        pty, leader, self.alive = self._pty, self._leader, False
        if pty is None:
            return
        self._pause()
        loop = asyncio.get_running_loop()
        loop.remove_writer(pty.master)
        self._pty, self._leader = None, -1
        if leader < 0:
            pty.close()  # the leader was reaped: its pid may be another's by now
            return
        loop.remove_reader(leader)
        os.close(leader)
        await asyncio.to_thread(pty.end)

    # -- what it writes --------------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if self._pty is not None and not self._reading and not self._pty.ended:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._pty.master, self._pump)

    def _pause(self) -> None:
        if self._pty is not None and self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._pty.master)

    def _pump(self, portion: int = _PORTION) -> None:
        """Take a portion of what was written, and let others have as much time as that took."""
        pty = self._pty
        if pty is None:
            return
        began = time.monotonic()
        more = pty.drain(portion)
        pty.take(self.emulator.feed)
        self._changed(self)
        took = time.monotonic() - began
        if not more:
            self._pause()
        elif took > _SHARE_S:
            self._pause()
            asyncio.get_running_loop().call_later(took, self._resume)

    # -- what is typed, and the window -----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Type *data*. What the program does not read yet waits, up to a MiB."""
        if self._pty is not None and self.alive and len(self._typed) < _TYPED_AHEAD:
            self._typed += data
            self._type()

    def _type(self) -> None:
        pty, loop = self._pty, asyncio.get_running_loop()
        if pty is None:
            return
        del self._typed[: pty.write(bytes(self._typed[:_PORTION]))]
        if self._typed:
            loop.add_writer(pty.master, self._type)
        else:
            loop.remove_writer(pty.master)

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size."""
        if (columns, lines) != self._size and columns > 0 and lines > 0:
            self._size = columns, lines
            if self.alive:
                self._set_size()

    def _set_size(self) -> None:
        if self.emulator.size != self._size:
            self.emulator.resize(*self._size)
        if self._pty is not None:
            self._pty.resize(*self._size)

    @property
    def size(self) -> Size:
        """Columns, lines."""
        return self._size

    # -- for its layers --------------------------------------------------------------------------------------------------------------

    def keeper(self) -> "Keeper | None":
        """What keeps its screen for the layer of the next dump; None if it has ended."""
        loop = asyncio.get_running_loop()
        return Keeper(self, lambda: loop.call_soon_threadsafe(self._pump)) if self.alive else None

    def mark(self, reached: Callable[[], None]) -> None:
        """Have *reached* called once what was written before this call is shown. Any thread; quick.

        Raises:
            TargetError: nothing is held any more.
        """
        pty = self._pty
        if pty is None:
            raise TargetError("the screen of the terminal", why="it is gone")
        pty.mark(reached)

    def last_screen(self) -> str:
        """What the terminal shows, once everything was read that the program has written."""
        self._pump(1 << 20)
        return self.emulator.save()


class Keeper:
    """The `Companion` of a dump: the screen exactly as of the freeze, though what led to it may be emulated only later."""

    def __init__(self, terminal: Terminal, wake: Callable[[], object]) -> None:
        # Not of its emulator: the dump may wait for a restore, after which that is another one.
        self._terminal, self._wake = terminal, wake
        self._shown = ""
        self._known = threading.Event()

    def frozen(self) -> None:
        """Put a mark behind everything that was written so far."""
        self._terminal.mark(self._reached)
        self._wake()

    def _reached(self) -> None:
        self._shown = self._terminal.emulator.save()
        self._known.set()

    def files(self) -> Mapping[str, bytes]:
        """The screen as a file of the layer.

        Raises:
            TargetError: the event loop is gone, or too busy.
        """
        from lamina.core.image.sidecar import TERMINAL_NAME

        if not self._known.wait(_PATIENCE_S):
            raise TargetError("the screen of the terminal", why="it was not known in time")
        return {TERMINAL_NAME: self._shown.encode()}


def _in_words(code: int | None) -> str:
    if code is None:
        return "has ended"
    if code > 128:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(code - 128).name}"
    return f"has ended with exit status {code}"


def _reap(pidfd: int) -> None:
    asyncio.get_running_loop().remove_reader(pidfd)
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    os.close(pidfd)
