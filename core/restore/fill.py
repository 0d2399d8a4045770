"""Step 8 of a restore: pages from the pages files of the layers that own them straight into the new process, from outside it.

The price of a page is its first touch, not the copy. Where a whole aligned 2 MiB block of anonymous memory had data, one touch and
MADV_COLLAPSE give it a huge page first: a third of the time, no more memory than before, and no flag left on the area.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.owners import OwnerMap, Share
from lamina.core.kinds.memory.vmas import AreaPlan
from lamina.core.restore import layout
from lamina.core.restore.plan import TaskPlan

HUGE = 2 << 20
MADV_POPULATE_READ = 22
_CALL_BYTES = 32 << 20
_HUGE_PAGES = (128 << 20) // PAGE
_ANONYMOUS, _NO_HUGE = 0x20, 15


def pages_to_fill(task: TaskPlan) -> PageRuns:
    """The pages of *task* that lie in areas we map: not those of the vdso, which the kernel has."""
    areas = PageRuns.of((area.start, area.end) for area in task.areas if area.filled)
    return task.owners.runs & areas if task.owners else PageRuns.empty()


def fill(pid: int, task: TaskPlan, progress: Callable[[int], None]) -> int:
    """Write all pages of *task* into process *pid*, whose areas are mapped writable. Returns how many.

    *progress* is called with the pages of each portion of at most 32 MiB, and with 0 in between; what it raises ends the work.

    Raises:
        ImageError, NativeError: a pages file ends early or cannot be read, or the memory cannot be written.
    """
    wanted = pages_to_fill(task)
    _make_huge(pid, task.areas, wanted, progress)
    for share in task.owners.shares if task.owners else ():
        _fill_share(pid, share, wanted, progress)
    return wanted.pages


def _make_huge(pid: int, areas: tuple[AreaPlan, ...], wanted: PageRuns, progress: Callable[[int], None]) -> None:
    eligible = [area for area in areas if area.filled and area.flags & _ANONYMOUS and not area.path and _NO_HUGE not in area.advice]
    runs = wanted & PageRuns.of((area.start, area.end) for area in eligible)
    blocks = PageRuns.of(layout.whole_blocks(runs.starts.tolist(), runs.ends.tolist(), HUGE))
    if not blocks:
        return
    pidfd = os.pidfd_open(pid)
    try:
        for some in blocks.split(_HUGE_PAGES):
            progress(0)
            edges = np.ascontiguousarray(np.stack((some.starts, some.ends), axis=1)).ravel()
            err = new_error()
            check(C.lm_fill_huge(pid, pidfd, ffi.from_buffer("uint64_t[]", edges), len(some), err), err)
    finally:
        os.close(pidfd)


def fill_object(base: int, owners: OwnerMap, progress: Callable[[int], None]) -> None:
    """Write the pages of shared memory, which is mapped at *base* in this process. *progress* as `fill`.

    Raises:
        ImageError: a pages file cannot be read.
    """
    for share in owners.shares:
        moved = replace(share, runs=share.runs.shifted(base))
        _fill_share(os.getpid(), moved, moved.runs, progress)


def _fill_share(pid: int, share: Share, wanted: PageRuns, progress: Callable[[int], None]) -> None:
    owned = share.runs & wanted
    if not owned:
        return
    at = np.searchsorted(share.runs.starts, owned.starts, side="right") - 1
    offsets = share.offsets[at] + (owned.starts - share.runs.starts[at])
    pieces = np.ascontiguousarray(np.stack((owned.starts, owned.sizes, offsets), axis=1))
    with _mapped(share, owned.bytes) as (file, size):
        for portion, length in _portions(pieces):
            err = new_error()
            raw = ffi.from_buffer("lm_piece[]", portion)
            check(C.lm_fill_pieces(pid, file, size, raw, len(portion), err), err)
            progress(length // PAGE)


def _portions(pieces: Any) -> Iterator[tuple[Any, int]]:
    """Rows (address, length, offset), cut and grouped so that each group is at most `_CALL_BYTES` long."""
    lengths = pieces[:, 1]
    counts = ((lengths + np.uint64(_CALL_BYTES - 1)) // np.uint64(_CALL_BYTES)).astype(np.int64)
    cut = np.repeat(pieces, counts, axis=0)
    within = (np.arange(len(cut)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.uint64) * np.uint64(_CALL_BYTES)
    cut[:, 1] = np.minimum(cut[:, 1] - within, np.uint64(_CALL_BYTES))
    cut[:, 0] += within
    cut[:, 2] += within
    reach = np.cumsum(cut[:, 1])
    first = 0
    while first < len(cut):
        done = int(reach[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(reach, done + _CALL_BYTES, side="right")))
        yield np.ascontiguousarray(cut[first:last]), int(reach[last - 1]) - done
        first = last


@contextmanager
def _mapped(share: Share, needed: int) -> Iterator[tuple[Any, int]]:
    """The pages file in our memory, and its size. Read in at once if most of it is wanted."""
    try:
        with share.open() as content:
            if content.fd is None:
                raise ValueError("it is not a plain file")
            size = content.size
            view = mmap.mmap(content.fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise ImageError("cannot read", str(share.pages_file), str(error)) from error
    try:
        if needed * 2 > size:
            # Not before Linux 5.14; a file cut short is reported by the copy.
            with suppress(OSError):
                view.madvise(MADV_POPULATE_READ)
        raw = ffi.from_buffer(view)
        try:
            yield raw, size
        finally:
            ffi.release(raw)
    finally:
        view.close()
