"""From areas to ranges for the kernel's scan, and from its answer to a `Report` (what each category means: native/pagemap.c)."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import Area, describe
from lamina.core.dirty.regions import new_array, runs_of
from lamina.core.dirty.runs import Addresses, PageRuns
from lamina.core.dirty.state import is_running
from lamina.core.dirty.tracker import Report
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error

# Memory that no one can read from outside, or that is not the process's: the kernel's clock pages and the legacy call page.
_UNREADABLE = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})
_DEVICE_FLAGS = frozenset({"io", "pf"})
_WARM_REGIONS = 16384


def is_private(area: Area) -> bool:
    """Whether a tracker answers for *area*: private, and readable from outside."""
    return not (area.shared or area.path in _UNREADABLE or area.flags & _DEVICE_FLAGS)


def is_tracked(area: Area) -> bool:
    """Whether a userfaultfd can say something of *area*."""
    return is_private(area) or area.is_shared_memory


def split_at_areas(runs: PageRuns, areas: Iterable[Area]) -> tuple[Addresses, Addresses]:
    """*runs* as (starts, ends) cut at every border between areas, without what no area holds: ioctls stop at the first foreign area."""
    kept: list[tuple[Addresses, Addresses]] = []
    for area in areas:
        part = runs.clip(area.start, area.end)
        if part:
            kept.append((part.starts, part.ends))
    if not kept:
        return runs.starts[:0], runs.ends[:0]
    return np.concatenate([starts for starts, _ in kept]), np.concatenate([ends for _, ends in kept])


class Scanner:
    """The page map of one process, held open: bound to the program that ran when it was opened."""

    def __init__(self, identity: Identity) -> None:
        """Raises TargetError: the process is gone, is another one by now, or may not be read."""
        self._identity = identity
        self._fd = -1
        arrays = [new_array() for _ in range(6)]
        err = new_error()
        for array in arrays:
            check(C.lm_array_reserve(array, _WARM_REGIONS, err), err)
        self._found, self._sets = arrays[0], arrays[1:]
        self.reopen()

    def reopen(self) -> None:
        """Bind to the program that runs in the process now (after an exec, another one)."""
        self.close()
        err = new_error()
        try:
            self._fd = check(C.lm_pagemap_open(self._identity.pid, err), err)
        except NativeError as error:
            raise TargetError("cannot read the memory of", describe(self._identity.pid), error.reason, "run lamina as root") from error
        # Only after the open: whatever was opened, it is this process if its identity is still right.
        if not is_running(self._identity):
            self.close()
            raise TargetError("cannot read the memory of", f"process {self._identity.pid}", "it ended, and its pid may be another's now")

    def close(self) -> None:
        """Close the page map. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def scan(self, areas: Iterable[Area], protect: bool, live: bool) -> Report:
        """One scan of the private areas among *areas*; see `Tracker.protect` and `Tracker.peek`.

        Raises:
            TargetError: the process ended, or replaced its program by exec.
        """
        outside: list[Area] = []
        ranges: list[tuple[int, int, int]] = []
        for area in areas:
            if not is_private(area):
                outside.append(area)
                continue
            kind = C.LM_RANGE_FILE if area.is_file else 0
            if ranges and ranges[-1][1] == area.start and ranges[-1][2] == kind:
                ranges[-1] = (ranges[-1][0], area.end, kind)
            else:
                ranges.append((area.start, area.end, kind))
        flags = (C.LM_SCAN_PROTECT if protect else 0) | (C.LM_SCAN_SLICED if live else 0)
        self._ask(ranges, flags)
        report = self._answer(tuple(outside))
        shared = [area for area in outside if area.shared]
        return replace(report, guards=report.guards | self._guards_of(shared)) if shared else report

    def scan_shared(self, areas: Iterable[Area], protect: bool, live: bool) -> tuple[PageRuns, PageRuns]:
        """Of mappings of shared memory: what was written through them or has no page table entry, and what is not tracked at all.

        Raises:
            TargetError: as `scan`.
        """
        listed = list(areas)
        starts = np.array([area.start for area in listed], dtype=np.uint64)
        ends = np.array([area.end for area in listed], dtype=np.uint64)
        flags = (C.LM_SCAN_PROTECT if protect else 0) | (C.LM_SCAN_SLICED if live else 0)
        written, untracked, err = self._sets[0], self._sets[1], new_error()
        written.count = untracked.count = 0
        buffers = (ffi.from_buffer("uint64_t[]", edges) for edges in (starts, ends))
        with self._gone():
            check(C.lm_shared_scan(self._fd, *buffers, len(listed), flags, written, untracked, err), err)
        return runs_of(written), runs_of(untracked)

    @contextmanager
    def _gone(self) -> Iterator[None]:
        """The process ended, or replaced its program."""
        try:
            yield
        except NativeError as error:
            if error.errnum == errno.ESRCH:
                why = "it ended or replaced its program by exec"
                raise TargetError("cannot scan", describe(self._identity.pid), why, "dump it again") from error
            raise

    def _guards_of(self, areas: list[Area]) -> PageRuns:
        """Guard pages of shared mappings, of which the scan says nothing."""
        array, err = self._sets[0], new_error()
        array.count = 0
        starts = np.array([area.start for area in areas], dtype=np.uint64)
        ends = np.array([area.end for area in areas], dtype=np.uint64)
        buffers = (ffi.from_buffer("uint64_t[]", edges) for edges in (starts, ends))
        check(C.lm_guard_scan(self._fd, *buffers, len(areas), array, err), err)
        return runs_of(array, ascending=True)

    def _ask(self, ranges: list[tuple[int, int, int]], flags: int) -> None:
        if self._fd < 0:
            raise TargetError("cannot scan", describe(self._identity.pid), "its page map is closed")
        starts = np.array([start for start, _, _ in ranges], dtype=np.uint64)
        ends = np.array([end for _, end, _ in ranges], dtype=np.uint64)
        kinds = bytes(kind for _, _, kind in ranges)
        err = new_error()
        self._found.count = 0
        buffers = (ffi.from_buffer("uint64_t[]", edges) for edges in (starts, ends))
        with self._gone():
            check(
                C.lm_pagemap_scan(self._fd, *buffers, ffi.from_buffer("uint8_t[]", kinds), len(ranges), flags, self._found, err),
                err,
            )

    def entries(self, start: int, pages: int) -> Addresses:
        """Raw page map entries of *pages* pages from address *start*.

        Raises:
            TargetError: the process ended, or replaced its program by exec.
        """
        raw = np.zeros(pages, dtype=np.uint64)
        err = new_error()
        try:
            check(C.lm_pagemap_read(self._fd, start, pages, ffi.from_buffer("uint64_t[]", raw), err), err)
        except NativeError as error:
            raise TargetError("cannot read the page map of", describe(self._identity.pid), error.detail or error.reason) from error
        return raw

    def _answer(self, outside: tuple[Area, ...]) -> Report:
        err = new_error()
        for array in self._sets:
            array.count = 0
        ascending = bool(check(C.lm_pagemap_judge(self._found, *self._sets, err), err))
        data, changed, untracked, zero, guards = (runs_of(array, ascending) for array in self._sets)
        # A page that was found twice, in the walk of tracked and in that of untracked areas of a running target: the latter is right.
        return Report(changed, data, zero - data, untracked, outside, guards)
