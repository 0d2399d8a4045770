"""The memory of a running process, read without freezing or changing it.

Only pages that the process has are read from /proc/PID/mem. Reading another page would allocate it, and in memory that the program fills by
a userfaultfd it would wait for the program. Such pages are zero, or are read from the mapped file.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from lamina.core.attach.procfs import Area, describe, read_maps
from lamina.core.dirty.regions import new_array, runs_of
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.inspect.areas import KERNEL_OWN, AreaKind, MemoryArea, area_of_maps
from lamina.core.inspect.memory_reader import Memory
from lamina.core.inspect.pieces import PieceBuilder, columns_of, cut
from lamina.core.inspect.sources import FilePages, NoPages, OwnerKind, ProcessPages, Source, ZeroPages, whole_pages

_USER_END: Final = 1 << 63
_BACKED: Final = frozenset({AreaKind.FILE, AreaKind.SHARED_FILE, AreaKind.SHARED})
_ENTRIES_AT_ONCE: Final = 1 << 16
_THERE: Final = np.uint64(3 << 62)  # present or in swap


def open_live_memory(pid: int) -> Memory:
    """The memory of process *pid* as it is mapped now; open it again to see what it maps later.

    Raises:
        TargetError: no such process, or it may not be read.
    """
    process = ProcessPages(pid)
    maps = read_maps(pid)
    areas = [area_of_maps(area) for area in maps]
    if not areas:
        process.close()
        raise TargetError("cannot read", f"memory of {describe(pid)}", "it has none: a kernel thread, or a process that has ended")
    user = [area for area in areas if area.end <= _USER_END and area.kind not in KERNEL_OWN]
    there = _populated(pid, PageRuns.of((area.start, area.end) for area in user))
    sources: list[Source] = [process, ZeroPages(), NoPages(OwnerKind.ABSENT, "the kernel lets nobody read it from outside")]
    pieces = PieceBuilder()
    pieces.add_runs(there, 0)
    parts: list[tuple[int, int, int, int]] = []
    for area, mapped in zip(areas, maps, strict=True):
        if area.kind in KERNEL_OWN and area.end <= _USER_END:
            parts.append((area.start, area.end, 2, 0))
        elif area.kind in _BACKED:
            parts += _file_parts(area, _file_of(pid, area, mapped), sources)
        elif area.end <= _USER_END:
            parts.append((area.start, area.end, 1, 0))
    rest = PageRuns.of((part[0], part[1]) for part in parts) - there
    begins, stops = columns_of([part[:2] for part in parts])
    starts, ends, index = cut(rest, begins, stops)
    offsets = np.array([part[3] for part in parts], dtype=np.uint64)[index] + (starts - begins[index])
    pieces.add(starts, ends, offsets, np.array([part[2] for part in parts], dtype=np.int32)[index])
    return Memory(describe(pid), pid, areas, pieces.build(), sources)


def _file_of(pid: int, area: MemoryArea, mapped: Area) -> FilePages:
    """The very file or object that is mapped: by the kernel's own link, which needs CAP_CHECKPOINT_RESTORE, else by its path."""
    link = f"/proc/{pid}/map_files/{area.start:x}-{area.end:x}"
    try:
        Path(link).stat()
    except OSError:
        with suppress(OSError, ValueError):
            found = Path(area.name).stat()
            if (f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}", found.st_ino) == (mapped.dev, mapped.inode):
                return FilePages(area.name)
    return FilePages(area.name, link)


def _file_parts(area: MemoryArea, file: FilePages, sources: list[Source]) -> list[tuple[int, int, int, int]]:
    """(start, end, source, offset) of a mapping whose pages *file* has: what it has, and what lies behind its end."""
    try:
        there = max(0, min(area.size, whole_pages(file.size) - area.offset))
    except ImageError as error:
        sources.append(NoPages(OwnerKind.ABSENT, f"the process has not touched it, and {area.name} cannot be read: {error.why}", area.name))
        return [(area.start, area.end, len(sources) - 1, 0)]
    finally:
        file.close()
    parts = []
    if there:
        sources.append(file)
        parts.append((area.start, area.start + there, len(sources) - 1, area.offset))
    if there < area.size:
        sources.append(NoPages(OwnerKind.ABSENT, "it lies behind the end of the mapped file", area.name))
        parts.append((area.start + there, area.end, len(sources) - 1, 0))
    return parts


# -- which pages the process has -----------------------------------------------------------------------------------------------------


def _populated(pid: int, runs: PageRuns) -> PageRuns:
    """The pages among *runs* that are present or in swap."""
    err = new_error()
    try:
        pagemap = check(C.lm_pagemap_open(pid, err), err)
    except NativeError as error:
        raise TargetError("may not read", describe(pid), error.reason, "run lamina as root") from error
    try:
        return _scan(pagemap, runs)
    except NativeError as error:
        if error.errnum != errno.ENOTTY:  # no PAGEMAP_SCAN before Linux 6.7
            raise TargetError("cannot read the page map of", describe(pid), error.reason or error.detail) from error
        return _entries(pid, pagemap, runs)
    finally:
        os.close(pagemap)


def _scan(pagemap: int, runs: PageRuns) -> PageRuns:
    err = new_error()
    found = new_array()
    starts, ends = (ffi.from_buffer("uint64_t[]", np.ascontiguousarray(column)) for column in (runs.starts, runs.ends))
    kinds = ffi.from_buffer("uint8_t[]", bytes(len(runs)))
    check(C.lm_pagemap_scan(pagemap, starts, ends, kinds, len(runs), 0, found, err), err)
    return runs_of(found)


def _entries(pid: int, pagemap: int, runs: PageRuns) -> PageRuns:
    parts = []
    for some in runs.split(_ENTRIES_AT_ONCE):
        for start, end in some:
            raw = np.zeros((end - start) // PAGE, dtype=np.uint64)
            err = new_error()
            try:
                check(C.lm_pagemap_read(pagemap, start, raw.size, ffi.from_buffer("uint64_t[]", raw), err), err)
            except NativeError as error:
                raise TargetError("cannot read the page map of", describe(pid), error.detail or error.reason) from error
            parts.append(np.uint64(start) + np.flatnonzero(raw & _THERE).astype(np.uint64) * np.uint64(PAGE))
    return PageRuns.from_pages(np.concatenate(parts)) if parts else PageRuns.empty()
