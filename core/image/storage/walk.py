"""Opens a directory step by step, so that every directory on the way is checked through the descriptor that is used.

The owner of a directory on a path can exchange what is below it at any moment. So each directory is opened relative to the one above it,
and its descriptor is checked. Symbolic links are followed here and not by the kernel, for the same reason.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Final

Check = Callable[[str, os.stat_result], None]
"""Told of each thing that is gone through, by a name for messages and by what it is; raises to refuse it."""
_LINKS: Final = 40  # MAXSYMLINKS


def ignore(_name: str, _info: os.stat_result) -> None:
    """No check."""


def open_directory(path: str, start: int | None = None, check: Check = ignore) -> int:
    """Open the directory *path*, from the directory *start* (a descriptor) if it is relative, for reading. The caller closes it.

    *start* itself is not checked; of an absolute path the root is.

    Raises:
        OSError: there is none, or it may not be read; ELOOP: too many links.
    """
    at, said = _begin(path, start, check)
    todo, links = deque(path.split("/")), 0
    try:
        while todo:
            word = todo.popleft()
            if word in ("", "."):
                continue
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                below = os.open(word, flags, dir_fd=at)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                target = _link(word, at, f"{said}/{word}", check)
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
                todo.extendleft(reversed(target.split("/")))
                if target.startswith("/"):
                    os.close(at)
                    at = -1
                    at, said = _begin(target, None, check)
                continue
            os.close(at)
            at = below
            said = said.rpartition("/")[0] if word == ".." else f"{said}/{word}"
            check(said or "/", os.fstat(at))
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    finally:
        if at >= 0:
            os.close(at)


def _begin(path: str, start: int | None, check: Check) -> tuple[int, str]:
    if start is not None and not path.startswith("/"):
        at = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=start)
        return at, os.readlink(f"/proc/self/fd/{at}")
    at = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    check("/", os.fstat(at))
    return at, ""


def _link(word: str, at: int, said: str, check: Check) -> str:
    """The text of the symbolic link *word*."""
    info = os.lstat(word, dir_fd=at)
    if not stat.S_ISLNK(info.st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    check(said, info)
    return os.readlink(word, dir_fd=at)
