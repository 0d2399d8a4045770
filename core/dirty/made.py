"""The userfaultfds lamina made since the machine started, by inode: one small file beside the state files.

Children that are forked while their parent is tracked keep a copy of its descriptor, whatever becomes of the parent and of its state file.
This list outlives both. It is kept short: when it has grown, what no process holds any more is left out.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.core.attach.identity import boot_id, pid_namespace
from lamina.core.attach.procfs import fds_of
from lamina.core.dirty.state_dir import cannot_remember, read_small, state_dir
from lamina.core.errors import TargetError

# A lamina's mark on a userfaultfd of its own (fcntl(2), F_SETSIG): the number of a signal that is never sent, since nobody sets O_ASYNC.
# It belongs to the open file, so that every copy has it, and a lamina with another state directory can see whose it is.
MARK = 61
LINK = "anon_inode:[userfaultfd]"
# So many lines are worth a look at who holds what.
_MANY = 256


def mark(copy: int) -> None:
    """Mark the userfaultfd that *copy* is a descriptor of as lamina's."""
    fcntl.fcntl(copy, fcntl.F_SETSIG, MARK)


def is_marked(copy: int) -> bool:
    """Whether some lamina made it."""
    return int(fcntl.fcntl(copy, fcntl.F_GETSIG)) == MARK


def note_made(ino: int) -> None:
    """Remember that lamina made the userfaultfd of inode *ino*, longer than the state of the process it was made in.

    Raises:
        TargetError: it cannot be written down.
    """
    path = _place()
    try:
        with _locked(path) as fd:
            known = _read(path)
            if ino not in known:
                size = os.fstat(fd).st_size
                if len(known) >= _MANY or size != len(_lines(known)):  # grown, or damaged
                    kept = known & _held() if len(known) >= _MANY else known
                    os.ftruncate(fd, 0)
                    os.write(fd, _lines(kept))
                os.write(fd, _lines({ino}))
    except OSError as error:
        raise cannot_remember(path, error) from error


def made() -> frozenset[int]:
    """The inodes of all userfaultfds lamina made since the machine started, as far as they are still there."""
    return frozenset(_read(_place()))


def _place() -> Path:
    """One list for each pid namespace: who holds what can be seen in our own only."""
    return state_dir() / f"made-{pid_namespace()}"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _lines(inodes: set[int]) -> bytes:
    return b"".join(b"%s %d\n" % (boot_id().encode(), ino) for ino in sorted(inodes))


def _read(path: Path) -> set[int]:
    try:
        raw = read_small(path)
    except (OSError, ValueError):
        return set()
    words = [line.split() for line in raw.decode(errors="replace").splitlines()]
    return {int(pair[1]) for pair in words if len(pair) == 2 and pair[0] == boot_id() and pair[1].isascii() and pair[1].isdigit()}


def _held() -> set[int]:
    """The inodes of all userfaultfds that any process holds."""
    found = set()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            for fd in fds_of(pid):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == LINK:
                    found.add(Path(f"/proc/{pid}/fd/{fd}").stat().st_ino)
        except (OSError, TargetError):
            continue
    return found
