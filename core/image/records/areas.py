"""Areas of a task (`vma_entry`): what mmap(2), mprotect(2) and madvise(2) can have made."""

from collections.abc import Iterator, Sequence
from typing import Final

from lamina.core.dirty.runs import PageRuns
from lamina.core.image.format import VmaStatus
from lamina.core.image.records.limits import LONG_MAX, PAGE, USER_END
from lamina.core.image.schema import vma_entry

MAP_SHARED, MAP_PRIVATE, MAP_DROPPABLE = 0x1, 0x2, 0x8
MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_HUGETLB = 0x20, 0x100, 0x40000
PROT_READ, PROT_WRITE, ALL_PROT = 1, 2, 7
O_ACCMODE, O_RDWR, O_WRONLY = 3, 2, 1
ADVICE: Final = frozenset({1, 2, 10, 12, 14, 15, 16, 18})
"""madvise(2) numbers whose effect smaps shows, and so can be in an image."""
_MAP_TYPE: Final = 0xF
_VSYSCALL_START: Final = 0xFFFF_FFFF_FF60_0000
_SPECIAL: Final = VmaStatus.VSYSCALL | VmaStatus.VDSO | VmaStatus.VVAR
_FILE: Final = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED
_KINDS: Final = _FILE | VmaStatus.ANON_PRIVATE | VmaStatus.ANON_SHARED
_REFUSED: Final = (
    VmaStatus.SYSVIPC | VmaStatus.SOCKET | VmaStatus.AIO_RING | VmaStatus.MEMFD | VmaStatus.SHADOW_STACK
    | VmaStatus.UPROBES
)  # fmt: skip
_KNOWN: Final = sum(VmaStatus)
_NOT_MAPPED: Final = _SPECIAL | VmaStatus.SOCKET | VmaStatus.AIO_RING | VmaStatus.SYSVIPC | VmaStatus.UPROBES | VmaStatus.SHADOW_STACK
"""Kinds that mmap of memory or of a file does not make."""


def damage(entries: Sequence[vma_entry]) -> Iterator[str]:
    """What is wrong with the areas of one task, in the order of its list. Guard pages lie inside others and come at the end."""
    last = 0
    guards: list[vma_entry] = []
    spans: list[tuple[int, int]] = []
    for entry in entries:
        status = VmaStatus(entry.status)
        name = f"its area {entry.start:x}-{entry.end:x}"
        if entry.start % PAGE or entry.end % PAGE or entry.start >= entry.end:
            yield f"{name} is not of whole pages, or empty"
            continue
        if status & VmaStatus.GUARD:
            guards.append(entry)
            continue
        if entry.start < last:
            yield f"{name} is not in order: the one before it ends at {last:x}"
            continue
        last = entry.end
        if entry.end > USER_END and not (status & VmaStatus.VSYSCALL and entry.start == _VSYSCALL_START):
            yield f"{name} is outside user space"
            continue
        if spans and spans[-1][1] == entry.start:
            spans[-1] = (spans[-1][0], entry.end)
        else:
            spans.append((entry.start, entry.end))
        if entry.pgoff % PAGE:
            yield f"{name} begins at offset {entry.pgoff:#x}, which is no page"
        elif status & _SPECIAL:
            yield from (f"{name} {why}" for why in _kernels(entry, status))
        elif not status & _NOT_MAPPED:
            yield from (f"{name} {why}" for why in _mapped(entry, status))
    yield from _guards(guards, spans)


def _kernels(entry: vma_entry, status: VmaStatus) -> Iterator[str]:
    """One of those that the kernel makes. What it lets nobody change: none is of a file, and nobody writes into [vvar]."""
    if status & ~(VmaStatus.REGULAR | VmaStatus.ANON_PRIVATE) not in (VmaStatus.VSYSCALL, VmaStatus.VDSO, VmaStatus.VVAR):
        yield f"is the kernel's and something else (status {entry.status:#x})"
    elif entry.shmid:
        yield f"is the kernel's and of a file (status {entry.status:#x})"
    elif status & VmaStatus.VVAR and entry.prot & ~PROT_READ:
        yield f"is [vvar] and has the protection {entry.prot:#x}"


def _mapped(entry: vma_entry, status: VmaStatus) -> Iterator[str]:
    """Memory and files, mapped by mmap(2)."""
    kind, how = status & _KINDS, entry.flags & _MAP_TYPE
    if kind.bit_count() != 1:
        yield f"is of no kind, or of several (status {entry.status:#x})"
        return
    shared = kind in (VmaStatus.FILE_SHARED, VmaStatus.ANON_SHARED)
    wanted = {MAP_SHARED} if shared else {MAP_PRIVATE} if kind & _FILE else {MAP_PRIVATE, MAP_DROPPABLE}
    if how not in wanted:
        yield f"is {'shared' if shared else 'private'}, but its flags {entry.flags:#x} say otherwise"
    if entry.prot & ~ALL_PROT:
        yield f"has an unknown protection {entry.prot:#x}"
    if any(entry.madv >> bit & 1 and bit not in ADVICE for bit in range(64)):
        yield f"has advice {entry.madv:#x}, which madvise does not know"
    if kind & _FILE:
        yield from _file(entry, shared)
    if kind == VmaStatus.ANON_SHARED and entry.pgoff + (entry.end - entry.start) > LONG_MAX:
        yield f"begins at offset {entry.pgoff:#x} of shared memory, which cannot be mapped"
    if entry.flags & MAP_GROWSDOWN and (kind & _FILE or shared):
        yield "grows down, which only private memory can"


def _file(entry: vma_entry, shared: bool) -> Iterator[str]:
    if entry.pgoff + (entry.end - entry.start) > LONG_MAX:
        yield f"begins at offset {entry.pgoff:#x} of its file, which cannot be mapped"
    if entry.flags & MAP_ANONYMOUS:
        yield "is of a file, but its flags say that it has none"
    access = entry.fdflags & O_ACCMODE
    if access in (O_WRONLY, O_ACCMODE):
        yield "is of a file that was opened without the right to read"
    elif entry.HasField("fdflags") and shared and entry.prot & PROT_WRITE and access != O_RDWR:
        yield "may be written, but its file was opened for reading"


def _guards(guards: Sequence[vma_entry], spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Guard pages (MADV_GUARD_INSTALL) are pages of areas; *spans* are those, ascending."""
    at = 0
    for entry in sorted(guards, key=lambda it: it.start):
        while at < len(spans) and spans[at][1] <= entry.start:
            at += 1
        if at == len(spans) or not spans[at][0] <= entry.start < entry.end <= spans[at][1]:
            yield f"its guard pages {entry.start:x}-{entry.end:x} lie in no area"


def unsupported(entries: Sequence[vma_entry]) -> Iterator[str]:
    """Areas that are whole and that no restore of ours makes."""
    for entry in entries:
        if entry.status & (_REFUSED | ~_KNOWN):
            yield f"its area {entry.start:x}-{entry.end:x} is memory of a kind that is not supported (status {entry.status:#x})"
        elif entry.flags & MAP_HUGETLB:
            yield f"its area {entry.start:x}-{entry.end:x} has huge pages of hugetlbfs, which are not supported"
    yield from _unlike_any_kernel(entries)


def _unlike_any_kernel(entries: Sequence[vma_entry]) -> Iterator[str]:
    """[vvar], of two neighbours since Linux 6.13, and [vdso]: kernels that restore give both or none. Where there are more, criu had put
    the program back on another kernel.
    """
    kinds = (VmaStatus.VVAR, "[vvar]"), (VmaStatus.VDSO, "[vdso]")
    places = {name: len(PageRuns.of((it.start, it.end) for it in entries if it.status & status)) for status, name in kinds}
    if min(places.values()) == 0 < max(places.values()):
        yield f"it has {'[vdso] and no [vvar]' if places['[vdso]'] else '[vvar] and no [vdso]'}, and a kernel gives both or none"
    yield from (f"it has {name} in {count} places, and a kernel gives one" for name, count in places.items() if count > 1)


def writable(entries: Sequence[vma_entry]) -> list[tuple[int, int]]:
    """Where a task can write, as ascending spans that do not touch; of areas without damage."""
    found: list[tuple[int, int]] = []
    for entry in entries:
        if entry.status & (VmaStatus.GUARD | _SPECIAL) or not entry.prot & PROT_WRITE:
            continue
        if found and found[-1][1] == entry.start:
            found[-1] = (found[-1][0], entry.end)
        else:
            found.append((entry.start, entry.end))
    return found
