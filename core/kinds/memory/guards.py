"""Guard pages (MADV_GUARD_INSTALL, Linux 6.13): holes inside a mapping that end the program when touched, as glibc 2.42 has on every stack.

They are no mappings; CRIU (from 4.2 on) keeps each run of them as a `vma_entry` of its own, after all others.
"""

from collections.abc import Iterable
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.dirty.runs import PageRuns
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry
from lamina.core.kinds.memory import vma_flags as f

_MADV_POPULATE_READ: Final = 22


def save(runs: PageRuns) -> list[vma_entry]:
    """As messages, to come after those of the mappings."""
    flags = f.MAP_PRIVATE | f.MAP_ANONYMOUS
    return [vma_entry(start=start, end=end, pgoff=0, shmid=0, prot=0, flags=flags, status=VmaStatus.GUARD, fd=-1) for start, end in runs]


def load(entries: Iterable[vma_entry]) -> PageRuns:
    """From the messages of all mappings, which `records.areas` has checked."""
    return PageRuns.of((entry.start, entry.end) for entry in entries if entry.status & VmaStatus.GUARD)


def rebuild(guards: PageRuns, calls: CallList) -> None:
    """Step 9, in the leader, after the pages are in, and before `vmas.protect`, which locks: locked memory takes none."""
    for start, end in guards:
        calls.add("madvise", start, end - start, f.MADV_GUARD_INSTALL, expect=0, about=f"guard {start:x}-{end:x}")


def populate(guards: PageRuns, start: int, end: int, calls: CallList) -> None:
    """Bring in the pages of a locked mapping around its guard pages, where mlock(2) stops."""
    at = start
    for first, last in [*guards.clip(start, end), (end, end)]:
        if at < first:
            calls.add("madvise", at, first - at, _MADV_POPULATE_READ, any_result=True)
        at = last
