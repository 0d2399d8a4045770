"""A program on a pseudo terminal whose master end is ours (pty(7)). Its output is kept in order, and a place in it can be marked."""

import errno
import fcntl
import os
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

_CHUNK = 1 << 16


class Pty:
    """One pseudo terminal and the process that leads its session.

    Attributes:
        pid: the leader.
        master: our end, non-blocking.
    """

    def __init__(self, argv: Sequence[str], columns: int, lines: int, extra: dict[str, str] | None = None) -> None:
        """Start *argv*, found along PATH, on a new pseudo terminal of that size, with *extra* in its environment.

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
                os.environ | {"TERM": "linux"} | (extra or {}),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                    *((os.POSIX_SPAWN_CLOSE, fd) for fd in _handed_down()),
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
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def write(self, data: bytes) -> None:
        """Type *data*. What does not fit into the terminal's own buffer is lost, as on a real one."""
        with suppress(OSError):
            os.write(self.master, data)

    def drain(self) -> bool:
        """Take what the program has written so far; False once there will be no more. Any thread."""
        with self._lock:
            return self._drain()

    def mark(self, reached: Callable[[], None]) -> None:
        """Have *reached* called by `take` when everything written before this call was taken. Any thread; quick."""
        with self._lock:
            self._drain()
            self._output.append(reached)

    def _drain(self) -> bool:
        while not self.ended:
            try:
                data = os.read(self.master, _CHUNK)
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
        return False

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
