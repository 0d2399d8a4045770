"""Block sharing (reflinks): whether a file system can do it, where a file's data is on the device, and making equal ranges share blocks."""

import os
import tempfile
from pathlib import Path

import numpy as np

from lamina.core.dirty.runs import PAGE, Addresses
from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, ffi, new_error

# Longer than the largest block of any file system that shares blocks.
_TRIAL = 256 << 10
NOT_KNOWN = np.iinfo(np.uint64).max


def why_not_shared(directory: Path) -> str:
    """Why files in *directory* cannot share blocks page by page, or "" if they can: tried with two temporary files."""
    kind = file_system_of(directory)
    block = os.statvfs(directory).f_bsize
    try:
        with tempfile.TemporaryFile(dir=directory) as one, tempfile.TemporaryFile(dir=directory) as other:
            for file in (one, other):
                file.write(b"lamina" * (_TRIAL // 6) + bytes(_TRIAL % 6))
                file.flush()
                os.fsync(file.fileno())
            lengths = np.array([_TRIAL], dtype=np.uint64)
            shared = share(one.fileno(), other.fileno(), lengths * np.uint64(0), lengths * np.uint64(0), lengths)
    except NativeError as error:
        return (
            f"this file system ({kind}) cannot share blocks between files ({error.reason.lower()}); btrfs can, and xfs made with reflink=1"
        )
    except OSError as error:
        return f"no file can be made in {directory} to try it: {os.strerror(error.errno or 0)}"
    if not shared.any():
        return f"this file system ({kind}) does not share blocks between files"
    if block > PAGE:
        return f"this file system ({kind}) has blocks of {block} bytes: single pages cannot be shared"
    return ""


def file_system_of(directory: Path) -> str:
    """The type of the file system that *directory* is on, as mount(8) calls it; "unknown" if /proc does not say."""
    best, kind = "", "unknown"
    try:
        place = str(directory.resolve())
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            words = line.split()
            at = words[4].encode().decode("unicode_escape")  # blanks stand there as \040
            if (place == at or place.startswith(at.rstrip("/") + "/")) and len(at) >= len(best):
                best, kind = at, words[words.index("-") + 1]
    except (OSError, ValueError, IndexError):
        pass
    return kind


def share(from_fd: int, to_fd: int, starts: Addresses, targets: Addresses, lengths: Addresses) -> Addresses:
    """Let ranges of *to_fd* share the blocks of equal ranges of *from_fd*; returns the bytes shared of each. Content never changes.

    Raises:
        NativeError: the file system cannot; `object_id` is the index of the range.
    """
    shared = np.zeros(lengths.size, dtype=np.uint64)
    columns = [ffi.from_buffer("uint64_t[]", np.ascontiguousarray(column)) for column in (starts, targets, lengths)]
    err = new_error()
    check(C.lm_reflink_share(from_fd, to_fd, *columns, lengths.size, ffi.from_buffer("uint64_t[]", shared), err), err)
    return shared


def physical_addresses(fd: int, offsets: Addresses) -> Addresses:
    """Where the pages at *offsets* (ascending) of an open file are on the device, bytes; `NOT_KNOWN` where the file system does not say.

    Two pages with the same address share their blocks.
    """
    starts, sizes, where = _extents(fd)
    found = np.full(offsets.size, NOT_KNOWN, dtype=np.uint64)
    if not starts.size:
        return found
    at = np.searchsorted(starts, offsets, side="right").astype(np.int64) - 1
    inside = (at >= 0) & (offsets + np.uint64(PAGE) <= starts[at] + sizes[at]) & (where[at] != NOT_KNOWN)
    found[inside] = where[at[inside]] + (offsets[inside] - starts[at[inside]])
    return found


def _extents(fd: int) -> tuple[Addresses, Addresses, Addresses]:
    room, begin, size = 1 << 14, 0, os.fstat(fd).st_size
    parts: list[tuple[Addresses, Addresses, Addresses]] = []
    while begin < size:
        columns = tuple(np.empty(room, dtype=np.uint64) for _ in range(3))
        err = new_error()
        try:
            count = check(C.lm_reflink_extents(fd, begin, *(ffi.from_buffer("uint64_t[]", it) for it in columns), room, err), err)
        except NativeError:
            break  # a file system that cannot be asked shares nothing either
        if not count:
            break
        parts.append((columns[0][:count], columns[1][:count], columns[2][:count]))
        begin = int(columns[0][count - 1] + columns[1][count - 1])
    if not parts:
        none = np.empty(0, dtype=np.uint64)
        return none, none, none
    starts, sizes, where = (np.concatenate(column) for column in zip(*parts, strict=True))
    return starts, sizes, where
