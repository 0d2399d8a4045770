"""One writer per stack: an advisory lock (flock(2)) on the directory itself, so nothing is left behind when the holder dies."""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lamina.core.errors import BusyError, ImageError


def holder_of(fd: int) -> str:
    """Who holds a flock on the file behind *fd*, as in "process 4711 (lamina)"; "another process" if /proc/locks does not say."""
    info = os.fstat(fd)
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            # "1: FLOCK ADVISORY WRITE 4711 fd:01:5382 0 EOF"; a waiter has "->" as its second word.
            if len(words) > 5 and words[1] == "FLOCK" and words[5] == wanted and int(words[4]) > 0:
                pid = int(words[4])
                name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
                return f"process {pid} ({name})"
    except (OSError, ValueError):
        pass
    return "another process"


def take(fd: int) -> bool:
    """Lock the open file *fd* without waiting; False if somebody else has it. It is released when the description is closed.

    Raises:
        OSError: the file system cannot lock.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def stack_of(images_dir: Path) -> Path:
    """The directory of the stack that a layer in *images_dir* belongs to: the one that holds it."""
    return images_dir.resolve().parent


@contextmanager
def shared(stack_dirs: Iterable[Path], what: str) -> Iterator[None]:
    """Lock some stacks against writers while they are read; *what* as in "cannot restore from".

    Raises:
        BusyError: somebody writes in one of them now; it is named.
        OSError: one of the directories cannot be opened.
    """
    with ExitStack() as held:
        for stack in dict.fromkeys(stack_dirs):
            fd = os.open(stack, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise BusyError(what, f"stack {stack}", f"{holder_of(fd)} is writing there", "wait for it to end") from error
                # A file system without locks has no writer's lock either.
        yield


@contextmanager
def locked(stack_dir: Path) -> Iterator[None]:
    """Hold the writer's lock of a stack.

    Raises:
        BusyError: another process writes there; it is named.
        ImageError: the directory cannot be opened or locked.
    """
    try:
        fd = os.open(stack_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError("cannot lock", f"stack {stack_dir}", os.strerror(error.errno or 0)) from error
    try:
        try:
            free = take(fd)
        except OSError as error:
            raise ImageError("cannot lock", f"stack {stack_dir}", os.strerror(error.errno or 0)) from error
        if not free:
            raise BusyError("cannot write to", f"stack {stack_dir}", f"{holder_of(fd)} is writing there", "wait for it to end")
        yield
    finally:
        os.close(fd)
