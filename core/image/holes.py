"""Holes in pages files: finds and punches them."""

import os
from pathlib import Path

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.ffi import C, check, ffi, new_error


def holes_of(fd: int, size: int) -> PageRuns:
    """The whole pages of an open file of *size* bytes that have no blocks, as file offsets.

    Raises:
        NativeError: lseek failed.
    """
    room = 4096
    while True:
        start, end = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint64)
        columns = ffi.from_buffer("uint64_t[]", start), ffi.from_buffer("uint64_t[]", end)
        err = new_error()
        count = check(C.lm_punch_holes(fd, 0, size, *columns, room, err), err)
        if count <= room:
            break
        room = count
    page = np.uint64(PAGE)
    first = (start[:count] + (page - np.uint64(1))) // page * page
    last = end[:count] // page * page
    return PageRuns.from_arrays(first, np.maximum(first, last))


def file_holes(path: Path, size: int) -> PageRuns:
    """`holes_of` a file by name.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError("cannot read image", str(path), os.strerror(error.errno or 0)) from error
    try:
        return holes_of(fd, size)
    except NativeError as error:
        raise ImageError("cannot read image", str(path), str(error)) from error
    finally:
        os.close(fd)


def punch(fd: int, ranges: PageRuns) -> None:
    """Free the blocks under *ranges* (file offsets) of an open file; they read as zeros, its size stays.

    Raises:
        NativeError: the file system cannot do it (EOPNOTSUPP), or the file cannot be written.
    """
    lengths = ranges.sizes
    if not ranges:
        return
    starts = np.ascontiguousarray(ranges.starts)
    err = new_error()
    columns = ffi.from_buffer("uint64_t[]", starts), ffi.from_buffer("uint64_t[]", lengths)
    check(C.lm_punch_ranges(fd, *columns, len(ranges), err), err)
