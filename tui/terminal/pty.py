"""A program on a pseudo terminal whose master end is ours (pty(7)). Its output is kept in order, and a place in it can be marked."""

import errno
import fcntl
import os
import select
import signal
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

_CHUNK = 1 << 16
# More than a terminal holds: what was written before a freeze and nobody took yet.
_AT_ONCE = 1 << 17
_PATIENCE_S = 1.0
# Where the leader finds the pipe it reports through.
REPORTS = 3
# Ours, and wrong for the program: what it writes to is no terminal that we are in.
_NOT_ITS = ("COLUMNS", "LINES", "COLORTERM", "TERMCAP", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "TMUX_PANE", "STY", "WINDOW")


class Pty:
    """One pseudo terminal and the process that leads its session.

    Attributes:
        pid: the leader.
        master: our end, non-blocking.
    """

    def __init__(self, argv: Sequence[str], columns: int, lines: int, reports: int = -1) -> None:
        """Start *argv*, found along PATH, on a new pseudo terminal of that size; it gets *reports*, a pipe of ours, as `REPORTS`.

        Raises:
            OSError: there is no such program, or no pseudo terminal left.
        """
        # Nothing of ours may be open in the program: a dump would refuse or keep it. These two are not inheritable.
        self.master, slave = os.openpty()
        self._lock = threading.Lock()
        self._output: deque[bytes | Callable[[], None]] = deque()
        self.ended = False
        try:
            os.set_blocking(self.master, False)
            self.resize(columns, lines)
            # A session leader without a terminal that opens one gets it as its controlling terminal (setsid comes first).
            self.pid = os.posix_spawnp(
                argv[0],
                list(argv),
                {name: value for name, value in os.environ.items() if name not in _NOT_ITS} | {"TERM": "linux"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                    *((os.POSIX_SPAWN_CLOSE, fd) for fd in _handed_down()),
                    *([(os.POSIX_SPAWN_DUP2, reports, REPORTS)] if reports >= 0 else []),
                ],
                setsid=True,
                setsigmask=[],
            )
        except BaseException:
            os.close(self.master)
            raise
        finally:
            os.close(slave)

    def resize(self, columns: int, lines: int) -> None:
        """Tell the program how large its terminal is."""
        with suppress(OSError):
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def write(self, data: bytes) -> int:
        """Type *data*, as much of it as fits into the terminal's own buffer. Returns how many bytes that is."""
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # nobody is there to read it

    def drain(self, at_most: int = _AT_ONCE) -> bool:
        """Take what the program has written so far, about *at_most* bytes; False once there will be no more. Any thread."""
        with self._lock:
            return self._drain(at_most)

    def mark(self, reached: Callable[[], None]) -> None:
        """Have *reached* called by `take` when everything written before this call was taken. Any thread; quick."""
        with self._lock:
            self._drain(_AT_ONCE)
            self._output.append(reached)

    def _drain(self, at_most: int) -> bool:
        while not self.ended and at_most > 0:
            try:
                data = os.read(self.master, min(at_most, _CHUNK))
            except BlockingIOError:
                return True
            except OSError as error:
                # EIO: nobody has the other end open any more.
                if error.errno != errno.EIO:
                    raise
                data = b""
            if not data:
                self.ended = True
                return False
            self._output.append(data)
            at_most -= len(data)
        return not self.ended

    def take(self, feed: Callable[[bytes], None]) -> None:
        """Hand all output so far to *feed*, marks in their places."""
        while True:
            with self._lock:
                if not self._output:
                    return
                item = self._output.popleft()
            if isinstance(item, bytes):
                feed(item)
            else:
                item()

    def end(self) -> None:
        """Hang up and reap the leader, which ends by that; one that does not within a second is killed. May block for that long.

        Only while nobody else has reaped it: its pid is its own as long.
        """
        self.close()
        with suppress(ChildProcessError, ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if not select.select([pidfd], [], [], _PATIENCE_S)[0]:
                    os.kill(self.pid, signal.SIGKILL)
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            finally:
                os.close(pidfd)

    def close(self) -> None:
        """Hang up: the foreground job gets SIGHUP from the kernel."""
        with self._lock:
            if self.master >= 0:
                self.ended = True
                os.close(self.master)
                self.master = -1


def _handed_down() -> list[int]:
    """What we were started with beside the three standard streams, and would hand down: not ours to close, but not the program's either."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found
