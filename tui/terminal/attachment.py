"""lamina's end of the connection to a holder. The messages are described in `lamina.tui.terminal.holder`."""

import asyncio
import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.core.errors import TargetError
from lamina.tui.terminal import holder

Size = tuple[int, int]
_PATIENCE_S = 10.0
_HANGS_UP_S = 5.0
_SCREEN = 1 << 24
# More than a pseudo terminal can buffer: what comes after as much was written later.
_HELD_BY_A_PTY = 1 << 15
# How long another process may write into the same terminal in the middle of a freeze.
_BUSY_S = 0.02
_F_NONBLOCK = 2  # splice(2); not every Python has os.SPLICE_F_NONBLOCK
_STAND_IN = "lamina.tui.terminal.stand_in"


@dataclass(frozen=True)
class Output:
    """The program wrote *data*."""

    data: bytes


@dataclass(frozen=True)
class Resized:
    """From here on the program wrote for a window of that size."""

    columns: int
    lines: int


@dataclass(frozen=True)
class UpToDate:
    """All output from before we attached has been sent."""


@dataclass(frozen=True)
class Reported:
    """The leader of the terminal has sent a report."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The program ended with exit status *code*, 128 + n for signal n. Nothing follows."""

    code: int


@dataclass(frozen=True)
class Taken:
    """Another lamina, process *by*, shows the terminal now. Nothing follows."""

    by: int


@dataclass(frozen=True)
class Gone:
    """The holder has ended, and the terminal with it."""


Event = Output | Resized | UpToDate | Reported | Ended | Taken | Gone


class ShownElsewhereError(TargetError):
    """Another lamina shows the terminal."""

    def __init__(self, what: str, by: int) -> None:
        super().__init__("cannot show", what, f"lamina {by}{_where(by)} shows it", "lamina attach --take takes it over")
        self.by = by


def _where(lamina: int) -> str:
    try:
        return f" on {os.readlink(f'/proc/{lamina}/fd/0')}"
    except OSError:
        return ""


class Attachment:
    """A terminal that a holder holds, shown here.

    Attributes:
        holder: the process.
        status: what the holder said about the terminal when we attached.
        size: of the window when the output begins that we are sent; columns, lines.
        screen: what it showed then, as `Emulator.save` returned it; "" for nothing yet.
        place: how much of the output was taken, bytes since the beginning.
    """

    def __init__(self, connection: socket.socket, blocking: bool = False) -> None:
        """Attach over *connection*, to a holder that expects us; waits for its status.

        *blocking*: whether sending may block later; else the methods are called on an event loop.

        Raises:
            TargetError: it sends no status.
            ShownElsewhereError: another lamina shows it.
        """
        self._connection = connection
        self._early: deque[Event] = deque()
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._lock = threading.Lock()
        self._over = False
        self._pipe = -1
        connection.settimeout(_PATIENCE_S)
        try:
            message, fds, _, _ = socket.recv_fds(connection, holder.PACKET, 8)
            if not message:
                raise ConnectionError("it has ended")
            status = json.loads(message[1:])
        except (OSError, ValueError) as error:
            connection.close()
            raise TargetError("cannot reach", "the holder of the terminal", str(error)) from error
        if message[:1] != b"W":
            connection.close()
            raise ShownElsewhereError(f"{status['name']} {status['pid']}", int(status["lamina"]))
        connection.setblocking(blocking)
        self.status: dict[str, Any] = status
        self.holder = int(status["holder"])
        self.size: Size = (int(status["size"][0]), int(status["size"][1]))
        self.place = int(status["place"])
        # Answers that were given before to output that is emulated again.
        self._given = int(status["given"])
        self._answers = int(status["answers"])
        self._fds = dict(zip(status["fds"], fds, strict=True))
        self.screen = ""
        if (screen := self._fds.pop("screen", -1)) >= 0:
            with os.fdopen(screen, "rb") as file:
                self.screen = os.pread(file.fileno(), _SCREEN, 0).decode(errors="replace")

    def fileno(self) -> int:
        """Readable when there is something to `take`."""
        return self._connection.fileno()

    # -- what it says ----------------------------------------------------------------------------------------------------------------

    def take(self) -> Event | None:
        """The next event; None if there is none yet."""
        return self._early.popleft() if self._early else self._receive()

    def wait(self, seconds: float) -> bool:
        """Whether there is something to `take` within that time."""
        return bool(self._early) or (not self._over and bool(select.select([self._connection], [], [], seconds)[0]))

    def hear(self) -> dict[str, Any] | None:
        """The next report of the leader, None if there is none yet. Events before it are kept for `take`.

        Raises:
            TargetError: the leader or the holder has ended without one.
        """
        event = self._receive()
        if isinstance(event, Reported):
            return event.report
        if event is not None:
            self._early.append(event)
        if isinstance(event, Ended | Gone | Taken):
            raise TargetError("the terminal", why="its leader ended" if isinstance(event, Ended) else "its holder ended")
        return None

    def said(self) -> str:
        """The output that was kept by `hear`, as text."""
        return b"".join(event.data for event in self._early if isinstance(event, Output)).decode(errors="replace")

    def _receive(self) -> Event | None:
        if self._over:
            return None
        try:
            message = self._connection.recv(holder.PACKET)
        except BlockingIOError:
            return None
        except OSError:
            message = b""
        event = _event(message)
        self._over = isinstance(event, Gone | Taken)
        return event

    def answer(self, data: bytes) -> None:
        """Send an answer of the emulator to the program, unless that answer was given when the output was first emulated."""
        self._given += 1
        if self._given > self._answers:
            self._answers = self._given
            self._send(b"Q" + data)

    # -- what is said to it ----------------------------------------------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        """Send keys. The holder has them then, even if we end."""
        for at in range(0, len(data), holder.PORTION):
            self._send(b"K" + data[at : at + holder.PORTION])

    def resize(self, columns: int, lines: int) -> None:
        """Tell that the window has another size from `place` on."""
        self._send(b"Z" + holder.PLACE.pack(self.place) + holder.WINDOW.pack(columns, lines))

    def keep(self, screen: str) -> None:
        """Have the holder keep what the terminal shows at `place`, so that the output before it is no longer needed."""
        fd = memory_file(screen)
        try:
            self._send(b"S" + holder.KEPT.pack(self.place, self._given), (fd,))
        finally:
            os.close(fd)

    def cancel(self) -> None:
        """Ask the leader to stop what it does. Any thread may call this, before anything else is sent."""
        self._sent(b"C", ())

    def _send(self, message: bytes, fds: tuple[int, ...] = ()) -> None:
        if self._connection.fileno() < 0:
            return
        if self._unsent:
            self._unsent.append((message, tuple(map(os.dup, fds))))
        elif not self._sent(message, fds):
            self._unsent.append((message, tuple(map(os.dup, fds))))
            asyncio.get_running_loop().add_writer(self._connection, self._send_on)

    def _sent(self, message: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._connection, [message], fds)
        except BlockingIOError:
            return False
        except OSError:
            pass  # that the other end is gone is found out when reading
        return True

    def _send_on(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            for fd in self._unsent.popleft()[1]:
                os.close(fd)
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._connection)

    # -- for its layers --------------------------------------------------------------------------------------------------------------

    def place_now(self) -> int:
        """How much the program has written so far, whether the holder has read it or not. Any thread; about 50 µs, without the holder.

        Raises:
            TargetError: the terminal is gone, or too much was written at once.
        """
        with self._lock:
            if "master" not in self._fds:
                raise TargetError("the screen of the terminal", why="it is gone")
            master, bypass, board = self._fds["master"], self._fds["around"], self._fds["board"]
            left, until = _HELD_BY_A_PTY, time.monotonic() + _BUSY_S
            try:
                while True:
                    fcntl.lockf(board, fcntl.LOCK_EX)
                    try:
                        left = _move(master, bypass, left)
                        if left <= 0:
                            waiting = fcntl.ioctl(bypass, termios.FIONREAD, b"\0\0\0\0")
                            (taken,) = holder.PLACE.unpack(os.pread(board, holder.PLACE.size, 0))
                            return int(taken + struct.unpack("i", waiting)[0])
                    finally:
                        fcntl.lockf(board, fcntl.LOCK_UN)
                    # Processes that are not frozen write there in small pieces; the holder reads them.
                    if not select.select([], [bypass], [], max(0.0, until - time.monotonic()))[1]:
                        raise TargetError("the screen of the terminal", why="its holder is too busy")
            except OSError as error:
                raise TargetError("the screen of the terminal", why=os.strerror(error.errno or 0)) from error

    # -- leaving ---------------------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Hang up and wait: the kernel sends SIGHUP to the foreground job; the leader is killed if it does not end."""
        self._close_fds()
        with suppress(OSError, ValueError):
            self._connection.setblocking(True)
            self._connection.settimeout(_HANGS_UP_S)
            self._connection.send(b"E")
            while self._connection.recv(holder.PACKET):
                pass
        self.close()

    def seen(self) -> None:
        """Detach, and tell the holder that the end of the program was seen, so that the terminal need not be held any longer."""
        with suppress(OSError):
            self._connection.send(b"B")
        self.close()

    def close(self) -> None:
        """Detach. The program runs on, and the holder waits for the next lamina."""
        if self._unsent:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_writer(self._connection)
            with suppress(OSError):
                self._connection.settimeout(1.0)
                while self._unsent:
                    message, fds = self._unsent.popleft()
                    socket.send_fds(self._connection, [message], fds)
                    for fd in fds:
                        os.close(fd)
        self._over = True
        self._close_fds()
        self._connection.close()

    def _close_fds(self) -> None:
        with self._lock:
            for fd in self._fds.values():
                os.close(fd)
            self._fds.clear()


def _move(master: int, bypass: int, left: int) -> int:
    """Move what the master has into the pipe. Returns how much of *left* is still to come as the pipe is full; 0 or less for nothing."""
    try:
        while left > 0:
            left -= os.splice(master, bypass, left, flags=_F_NONBLOCK)
    except BlockingIOError:
        # Either end may be the reason.
        if not select.select([master], [], [], 0)[0]:
            return 0
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return 0  # the program has ended
    return left


def _event(message: bytes) -> Event | None:
    letter, said = message[:1], message[1:]
    match letter:
        case b"O":
            return Output(said)
        case b"Z":
            return Resized(*holder.WINDOW.unpack(said))
        case b"U":
            return UpToDate()
        case b"L":
            return Reported(json.loads(said))
        case b"X":
            return Ended(int(json.loads(said)["ended"]))
        case b"T":
            return Taken(int(said))
    return Gone()


def memory_file(text: str) -> int:
    """A memfd that holds *text*."""
    fd = os.memfd_create("lamina-screen", os.MFD_CLOEXEC)
    data = memoryview(text.encode())
    while data:
        data = data[os.write(fd, data) :]
    return fd


def begin(directory: Path, leader: Sequence[str], name: str, size: Size, screen: str = "", blocking: bool = False) -> Attachment:
    """Start a holder, whose files are in *directory*, of a terminal that shows *screen*, and let it run *leader* there.

    If we are killed meanwhile, either nothing was begun or the holder can be found.

    Args:
        name: what to call the program; size: columns, lines of its window; blocking: as of `Attachment`.

    Raises:
        OSError: no process can be started.
        TargetError: the holder ended.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        try:
            os.waitpid(_spawn(directory, leader, name, size, its.fileno()), 0)
        except BaseException:
            ours.close()
            raise
    if screen:
        fd = memory_file(screen)
        try:
            socket.send_fds(ours, [b"S" + holder.KEPT.pack(0, 0)], [fd])
        finally:
            os.close(fd)
    with suppress(OSError):
        ours.send(b"G")
    return Attachment(ours, blocking)


def _spawn(directory: Path, leader: Sequence[str], name: str, size: Size, connection: int) -> int:
    """Start a process that starts the holder and ends at once, so that the holder is not our child and need not be waited for."""
    stand_in = [sys.executable, "-P", "-m", _STAND_IN]
    # Not from the current directory, where there may be another `lamina`; and with as little of Python as it needs.
    words = [sys.executable, "-I", "-S", holder.__file__, str(directory), name, *map(str, size), str(len(stand_in)), *stand_in, *leader]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.posix_spawn(
            words[0], words, os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_CLOSE, fd) for fd in _handed_down()),
                (os.POSIX_SPAWN_DUP2, connection, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsid=True, setsigmask=[],
        )  # fmt: skip
    finally:
        os.close(null)


def _handed_down() -> list[int]:
    """Inherited descriptors other than the three standard streams: not ours to close, but not to be passed on to the program either."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found
