"""Mappings of a task: smaps ↔ `vma_entry`; which of their pages belong in an image; the calls that make them again.

What the format has no field for (names, NUMA policies, locks on fault) is kept by `area_notes`; protection keys are refused.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.image.format import VmaStatus
from lamina.core.image.records import areas
from lamina.core.image.schema import vma_entry
from lamina.core.kinds.memory import guards
from lamina.core.kinds.memory import vma_flags as f
from lamina.core.kinds.memory.mlock import MLOCK_ONFAULT
from lamina.core.objects.paths import PathOf, PathTable

AT_FDCWD: Final = -100
_ANON_NAMES: Final = ("[heap]", "[stack]", "")
_REFUSED_PATHS: Final = {
    "/SYSV": "System V shared memory",
    "/memfd:": "a memfd",
    "/[aio]": "an aio ring (io_setup)",
    "anon_inode:": "memory of an anonymous inode",
    "socket:": "memory of a socket",
    "[uprobes]": "kernel probes (uprobes)",
}


class Pages(Enum):
    """Which pages of a mapping an image holds."""

    NONE = auto()
    """None: the kernel's, a shared file's, or of shared memory, which has an image of its own."""
    ANONYMOUS = auto()
    """What was ever touched; a zero page may be left out, as an absent one is zero."""
    PRIVATE_COPIES = auto()
    """What was written to a private file mapping; zero pages too, since an absent page is the file's."""
    WHOLE = auto()
    """Every page (the vdso, which restore compares)."""


def _is_anonymous(area: Area) -> bool:
    return not area.is_file and (area.path in _ANON_NAMES or area.path.startswith(("[anon:", "[stack:")))


def status_of(area: Area) -> VmaStatus:
    """The status bits of *area*; UNSUPPORTED for what `blocker` refuses."""
    if area.path in f.KERNEL_NAMES and not area.is_file:
        return f.KERNEL_NAMES[area.path]
    if area.is_shared_memory:
        return VmaStatus.REGULAR | VmaStatus.ANON_SHARED
    if area.is_file:
        return VmaStatus.REGULAR | (VmaStatus.FILE_SHARED if area.shared else VmaStatus.FILE_PRIVATE)
    if area.shared or not _is_anonymous(area):
        return f.UNSUPPORTED
    status = VmaStatus.REGULAR | VmaStatus.ANON_PRIVATE
    if area.path == "[heap]":
        status |= VmaStatus.HEAP
    elif area.path == "[stack]":
        status |= VmaStatus.STACK
    return status


def blocker(area: Area, pid: int = 0) -> Blocker | None:
    """Why *area* (with VmFlags, from smaps) cannot be dumped, or None."""
    if area.path in f.KERNEL_NAMES and not area.is_file:
        return None
    kinds = [what for start, what in _REFUSED_PATHS.items() if area.path.startswith(start)]
    kinds += [f.REFUSED_VMFLAGS[letters] for letters in sorted(area.flags & f.REFUSED_VMFLAGS.keys())]
    why, fix = "", ""
    if kinds:
        why = f"{kinds[0]} is not supported"
    elif area.is_file and area.path.endswith(" (deleted)"):
        why, fix = "the mapped file was deleted", "restart the program on the new file"
    elif area.is_file and not area.path.startswith("/"):
        why = "the mapped file has no path from our root"
    elif status_of(area) & f.UNSUPPORTED:
        why = "memory of an unknown kind is not supported"
    return Blocker(str(area), why, fix, pid) if why else None


def pages_of(what: Area | vma_entry) -> Pages:
    """Which pages of a mapping belong in an image."""
    status = status_of(what) if isinstance(what, Area) else VmaStatus(what.status)
    droppable = "dp" in what.flags if isinstance(what, Area) else bool(what.flags & f.MAP_DROPPABLE)
    if status & VmaStatus.VDSO:
        return Pages.WHOLE
    if status & (VmaStatus.VVAR | VmaStatus.VSYSCALL | VmaStatus.FILE_SHARED | VmaStatus.ANON_SHARED | VmaStatus.GUARD) or droppable:
        return Pages.NONE
    return Pages.PRIVATE_COPIES if status & VmaStatus.FILE_PRIVATE else Pages.ANONYMOUS


def _map_flags(area: Area, status: VmaStatus) -> int:
    flags = f.MAP_DROPPABLE if "dp" in area.flags else f.MAP_SHARED if area.shared else f.MAP_PRIVATE
    if not area.is_file:
        flags |= f.MAP_ANONYMOUS
    if not status & f.SPECIAL:
        flags |= sum(flag for letters, flag in f.MAP_OF_VMFLAG.items() if letters in area.flags)
    return flags


def save(areas: Iterable[Area], files: PathTable) -> list[vma_entry]:
    """Mappings as messages, in order. *files* gives ids to mapped files, opened for writing only where a shared mapping may be written.

    Raises:
        RefusedError: an area that `blocker` refuses: it came after preflight.
    """
    entries = []
    for area in areas:
        if refused := blocker(area):
            raise RefusedError("cannot dump", "its memory", blockers=(refused,))
        status = status_of(area)
        entry = vma_entry(
            start=area.start, end=area.end, pgoff=0, shmid=0, prot=area.prot, flags=_map_flags(area, status), status=status, fd=-1
        )
        if area.is_file:
            may_write = area.shared and ("mw" in area.flags or bool(area.prot & f.PROT_WRITE))
            entry.fdflags = os.O_RDWR if may_write else os.O_RDONLY
            entry.pgoff, entry.shmid = area.offset, files.path(area.path, entry.fdflags)
        elif status & VmaStatus.ANON_SHARED:
            entry.pgoff, entry.shmid = area.offset, files.shared_memory(area.dev, area.inode)
        if not status & f.SPECIAL:
            madv = sum(1 << advice for letters, advice in f.MADV_OF_VMFLAG.items() if letters in area.flags)
            if madv:
                entry.madv = madv
        entries.append(entry)
    return entries


def check(entries: Sequence[vma_entry]) -> None:
    """Refuse a list of mappings that no dump writes, or that holds what is not rebuilt.

    Raises:
        ImageError: see `records.areas.damage` and `unsupported`.
    """
    for why in areas.damage(entries):
        raise ImageError("damaged image", "memory", why)
    for why in areas.unsupported(entries):
        raise ImageError("cannot restore", "memory", why)


@dataclass(frozen=True)
class AreaPlan:
    """One mapping to be made.

    Attributes:
        start, end, prot, offset: as mmap(2) takes them.
        flags: MAP_* without MAP_FIXED_NOREPLACE and MAP_LOCKED.
        path: the file, "" for anonymous memory; open_flags: how it is opened.
        shared: number of the shared memory that it maps; None if it maps none. Before `make` it must have a `path`.
        filled: pages will be written into it: writable until `protect`.
        advice: numbers for madvise(2); locked: mlock(2) at the end, or with on_fault mlock2(MLOCK_ONFAULT).
    """

    start: int
    end: int
    prot: int
    flags: int
    offset: int
    path: str
    open_flags: int
    filled: bool
    advice: tuple[int, ...]
    locked: bool
    on_fault: bool = False
    shared: int | None = None

    def __str__(self) -> str:
        return f"area {self.start:x}-{self.end:x} {self.path}".rstrip()


_MAP_KEPT: Final = f.MAP_SHARED | f.MAP_PRIVATE | f.MAP_DROPPABLE | f.MAP_ANONYMOUS | f.MAP_GROWSDOWN | f.MAP_NORESERVE | f.MAP_STACK


def plan(
    entries: Sequence[vma_entry],
    path_of: PathOf,
    filled: Callable[[vma_entry], bool],
    on_fault: Collection[int] = (),
) -> list[AreaPlan]:
    """Before anything is forked: what `make` will map, ascending; vdso, vvar and vsyscall are not among it (see `special`).

    *filled* tells whether pages will be written into a mapping; *on_fault*: addresses of those whose lock waits for the first touch.

    Raises:
        ImageError: see `check`; an unknown file.
    """
    check(entries)
    plans = []
    for entry in entries:
        status = VmaStatus(entry.status)
        if status & (f.SPECIAL | VmaStatus.GUARD):
            continue
        shares = bool(status & VmaStatus.ANON_SHARED)
        is_file = bool(status & (VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED))
        advice = tuple(bit for bit in range(64) if entry.madv >> bit & 1)
        writes = status & VmaStatus.FILE_SHARED and entry.prot & f.PROT_WRITE
        open_flags = entry.fdflags & os.O_ACCMODE if entry.HasField("fdflags") else os.O_RDWR if writes else os.O_RDONLY
        flags = entry.flags & _MAP_KEPT | (0 if is_file else f.MAP_ANONYMOUS)
        plans.append(
            AreaPlan(
                entry.start, entry.end, entry.prot, flags, entry.pgoff if is_file or shares else 0,
                path_of(entry.shmid) if is_file else "", open_flags, pages_of(entry) is not Pages.NONE and filled(entry), advice,
                bool(entry.flags & f.MAP_LOCKED), entry.start in on_fault, entry.shmid if shares else None,
            )
        )  # fmt: skip
    return plans


def make(plans: Sequence[AreaPlan], calls: CallList, fd: int = 0) -> None:
    """Step 7, in the leader, after everything old was unmapped: then NOREPLACE turns a planning error into an error, not a lost mapping.

    *fd* is the lowest free descriptor of the task; each file is opened there by path and closed again. A list of calls must fit a slice of
    the scratch range with its paths: hand over the plans in portions.
    """
    opened: tuple[str, int] | None = None
    for area in plans:
        wanted = (area.path, area.open_flags) if area.path else None
        if wanted != opened and wanted is not None:
            if opened is not None:
                calls.add("close", fd, expect=0)
            path = calls.path(area.path)
            calls.add("openat", AT_FDCWD, path, area.open_flags | os.O_CLOEXEC, 0, expect=fd, about=f"open {area.path} to map it")
            opened = wanted
        prot = area.prot | (f.PROT_WRITE if area.filled else 0)
        number = fd if area.path else -1
        flags = area.flags | f.MAP_FIXED_NOREPLACE
        size = area.end - area.start
        calls.add("mmap", area.start, size, prot, flags, number, area.offset, expect=area.start, about=f"map {area}")
        for advice in area.advice:
            calls.add("madvise", area.start, size, advice, expect=0, about=f"madvise({advice}) on {area}")
    if opened is not None:
        calls.add("close", fd, expect=0)


def protect(plans: Sequence[AreaPlan], calls: CallList, guard_pages: PageRuns | None = None) -> None:
    """Step 9, in the leader, after the pages are in: real protections, and locks (a limit on locked memory is not lowered yet)."""
    guard_pages = guard_pages or PageRuns.empty()
    for area in plans:
        size = area.end - area.start
        if area.filled and not area.prot & f.PROT_WRITE:
            calls.add("mprotect", area.start, size, area.prot, expect=0, about=f"protect {area}")
        if area.locked and area.on_fault:
            calls.add("mlock2", area.start, size, MLOCK_ONFAULT, expect=0, about=f"lock {area}")
        elif area.locked:
            holes = bool(guard_pages.clip(area.start, area.end))
            if holes or not area.prot:
                # What may not be touched is locked, too, but mlock(2) answers ENOMEM, as it does beyond the limit.
                calls.add("mlock2", area.start, size, MLOCK_ONFAULT, expect=0, about=f"lock {area}")
            calls.add("mlock", area.start, size, expect=0, about=f"lock {area}", any_result=holes or not area.prot)
            if holes:
                guards.populate(guard_pages, area.start, area.end, calls)
