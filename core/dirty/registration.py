"""Which areas of a process its userfaultfd watches.

Only whole areas may be registered: half a registered area makes the program's own mremap of the whole fail with EFAULT. In a frozen process
each area is registered by itself, by its exact bounds. A running one may have grown an area since its map was read, so there a *stretch* is
registered: everything from one thing that cannot be registered to the next, whatever the program has mapped in it by then.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from errno import EBUSY, EINVAL
from typing import Any

import numpy as np

from lamina.core.attach.procfs import Area
from lamina.core.dirty.runs import PageRuns
from lamina.core.dirty.scan import is_tracked
from lamina.core.ffi import C, check, ffi, new_error

# No area begins below or ends above (x86-64 with four levels of page tables, the most the kernel gives unasked).
_TOP = 0x7FFF_FFFF_F000


@dataclass(frozen=True)
class Refusal:
    """An area the kernel would not register, and why."""

    area: Area
    reason: str


@dataclass(frozen=True)
class Stretch:
    """Areas between two things that cannot be registered: bytes, from the end of the one to the start of the other."""

    start: int
    end: int
    areas: tuple[Area, ...]


class Registration:
    """What was registered through one userfaultfd, as far as is known: only a scan says what is tracked."""

    def __init__(self) -> None:
        self._registered: set[tuple[int, int]] = set()
        self._barred: set[tuple[int, int]] = set()

    def add_exactly(self, uffd: int, areas: Iterable[Area]) -> list[Refusal]:
        """Register what is new among *areas* of a frozen process, one by one."""
        new = [area for area in areas if is_tracked(area) and (area.start, area.end) not in self._registered]
        refusals = []
        for area, errnum in zip(new, _call(uffd, [(area.start, area.end) for area in new], on=True), strict=True):
            if errnum:
                self._barred.add((area.start, area.end))
                refusals.append(Refusal(area, _why(errnum)))
            else:
                self._registered.add((area.start, area.end))
        return refusals

    def add_stretches(self, uffd: int, areas: Iterable[Area]) -> list[Refusal]:
        """Register all private memory of a running process, given all its *areas*, if something in them is new.

        A stretch with something in it that is not known to be refused is left as it is until `add_exactly` has found out.
        """
        wanted = [
            stretch for stretch in self.stretches(areas) if any((area.start, area.end) not in self._registered for area in stretch.areas)
        ]
        refusals = []
        for stretch, errnum in zip(wanted, _call(uffd, [(s.start, s.end) for s in wanted], on=True), strict=True):
            bounds = {(area.start, area.end) for area in stretch.areas}
            if not errnum:
                self._registered |= bounds
            # EINVAL also says that there is nothing (any more) in the stretch.
            elif bounds:
                refusals += [Refusal(area, _why(errnum)) for area in stretch.areas if (area.start, area.end) not in self._registered]
        return refusals

    def remove(self, uffd: int, areas: Iterable[Area]) -> None:
        """Unregister everything, given all *areas*, in stretches: the process may run."""
        _call(uffd, [(stretch.start, stretch.end) for stretch in self.stretches(areas)], on=False)
        self._registered.clear()

    def forget_lost(self, areas: Iterable[Area], untracked: PageRuns) -> None:
        """Areas that show untracked pages lost their registration (mapped anew at the same place): they are new again."""
        starts, ends = untracked.starts.tolist(), untracked.ends.tolist()
        for area in areas if starts else ():
            at = bisect_right(ends, area.start)
            if at < len(starts) and starts[at] < area.end:
                self._registered.discard((area.start, area.end))

    def stretches(self, areas: Iterable[Area]) -> Iterator[Stretch]:
        """The stretches of a process with these *areas*, ascending; empty ones are left out."""
        begin, inside = 0, list[Area]()
        for area in areas:
            if is_tracked(area) and area.path != "[vdso]" and (area.start, area.end) not in self._barred:
                # Below the first area nothing may be mapped, and the kernel refuses addresses there.
                begin = begin or area.start
                inside.append(area)
                continue
            if inside:
                # [vsyscall] lies beyond what the kernel takes for a program's address.
                yield Stretch(begin, min(area.start, max(_TOP, inside[-1].end)), tuple(inside))
            begin, inside = area.end, []
        if inside:
            yield Stretch(begin, max(_TOP, inside[-1].end), tuple(inside))


def _why(errnum: int) -> str:
    if errnum == EBUSY:
        return "another userfaultfd watches it"
    return "the kernel cannot watch this kind of memory" if errnum == EINVAL else os.strerror(errnum)


def _call(uffd: int, ranges: list[tuple[int, int]], on: bool) -> list[int]:
    """Register or unregister *ranges*; returns an errno or 0 for each."""
    if not ranges:
        return []
    starts = np.array([start for start, _ in ranges], dtype=np.uint64)
    ends = np.array([end for _, end in ranges], dtype=np.uint64)
    status, err = ffi.new("int32_t[]", len(ranges)), new_error()
    check(C.lm_uffd_register(uffd, _column(starts), _column(ends), len(ranges), on, status, err), err)
    return list(status)


def _column(values: Any) -> Any:
    return ffi.from_buffer("uint64_t[]", values)
