"""Copies pages between pages files, by copy_file_range(2) where possible: a file system that shares blocks then copies nothing."""

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.errors import NativeError
from lamina.core.events import CancelToken
from lamina.core.image.compare_pages import equal_stretches
from lamina.core.image.holes import holes_of
from lamina.core.image.owners import to_addresses, to_offsets

CHUNK = 16 << 20
# Pieces compared between two looks at whether the work is to stop.
BATCH = 1 << 14
# What says that this pair of files must be copied by reading and writing.
_NOT_HERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}
_FICLONE = 0x40049409  # ioctl_ficlone(2)


@dataclass(frozen=True, eq=False)
class Pieces:
    """Ranges of one file and their positions in another, ascending in both.

    Attributes:
        source, target: file offsets in bytes.
        size: bytes of each.
    """

    source: Addresses
    target: Addresses
    size: Addresses

    @classmethod
    def of(cls, pages: PageRuns, source: PageRuns, target: PageRuns) -> "Pieces":
        """Where *pages* (addresses) are in two pages files that hold *source* and *target* according to their maps.

        *pages* must be a part of both. Ranges that are adjacent in both files become one.
        """
        starts, sizes = pages.starts, pages.sizes
        first, second = _offsets(source, starts), _offsets(target, starts)
        if len(pages) > 1:
            joined = (first[1:] == first[:-1] + sizes[:-1]) & (second[1:] == second[:-1] + sizes[:-1])
            heads = np.flatnonzero(np.concatenate(([True], ~joined)))
            first, second, sizes = first[heads], second[heads], np.add.reduceat(sizes, heads)
        return cls(first, second, sizes)

    @property
    def bytes(self) -> int:
        """Bytes of all together."""
        return int(self.size.sum(dtype=np.uint64))

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(source, target, size) of each, cut into pieces of at most `CHUNK` bytes."""
        for source, target, size in zip(self.source.tolist(), self.target.tolist(), self.size.tolist(), strict=True):
            for at in range(0, size, CHUNK):
                yield source + at, target + at, min(CHUNK, size - at)


def _offsets(present: PageRuns, starts: Addresses) -> Addresses:
    at = np.searchsorted(present.starts, starts, side="right") - 1
    found: Addresses = present.offsets[at] + (starts - present.starts[at])
    return found


def without_holes(fd: int, present: PageRuns, pages: PageRuns) -> PageRuns:
    """Those of *pages* that have blocks in the open pages file *fd*, which holds *present* according to its map.

    Raises:
        OSError: the file cannot be asked.
    """
    size = os.fstat(fd).st_size
    if not pages or os.fstat(fd).st_blocks * 512 >= size:
        return pages
    try:
        holes = holes_of(fd, size)
    except NativeError as error:
        raise OSError(error.errnum, os.strerror(error.errnum)) from error
    return pages - to_addresses(present, holes & to_offsets(present, pages)) if holes else pages


def copy_piece(source_fd: int, target_fd: int, source: int, target: int, size: int) -> None:
    """Copy *size* bytes between two open files.

    Raises:
        OSError: it cannot be read or written; EIO if the source ends too early.
    """
    while size:
        try:
            done = os.copy_file_range(source_fd, target_fd, size, source, target)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            done = 0
        if not done:  # also what some file systems answer instead of an error
            done = os.pwrite(target_fd, os.pread(source_fd, min(size, 1 << 20), source), target)
        if not done:
            raise OSError(errno.EIO, "a pages file is shorter than its map says")
        source, target, size = source + done, target + done, size - done


def first_difference(one_fd: int, other_fd: int, pieces: Pieces, cancel: CancelToken, what: str) -> int | None:
    """Where *pieces* of two open files differ, as an offset of a page in the second; None if they are equal.

    Raises:
        OSError: one of them cannot be read, or is shorter than its map says.
        Cancelled: *cancel* asked for it; *what* names the work.
    """
    for low in range(0, len(pieces.size), BATCH):
        cancel.check(what)
        part = slice(low, low + BATCH)
        source, target, size = pieces.source[part], pieces.target[part], pieces.size[part]
        try:
            equal = equal_stretches(one_fd, source, other_fd, target, size)
        except NativeError as error:
            raise OSError(error.errnum or errno.EIO, str(error)) from error
        if not equal.all():
            at = int(np.argmin(equal))
            behind = np.cumsum(size, dtype=np.uint64) // np.uint64(PAGE)
            number = int(np.searchsorted(behind, at, side="right"))
            return int(target[number]) + (at - int(behind[number]) + int(size[number]) // PAGE) * PAGE
    return None


def shares_blocks(directory: os.PathLike[str], source_fd: int) -> bool:
    """Whether a copy of the open file *source_fd* in *directory* takes no space: the file system shares blocks (btrfs, xfs)."""
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        fcntl.ioctl(fd, _FICLONE, source_fd)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
