"""The mappings of a task as a reader of its memory sees them: the same for a layer and for a running process; and a choice among them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lamina.core.attach.procfs import Area
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import UsageError
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry


class AreaKind(StrEnum):
    """What a mapping is. A user chooses by these words."""

    HEAP = "heap"
    STACK = "stack"
    ANON = "anon"
    """Other private anonymous memory."""
    FILE = "file"
    """A private mapping of a file."""
    SHARED_FILE = "shared file"
    SHARED = "shared"
    """Memory without a name in a file system, shared with others: anonymous, memfd, System V."""
    VDSO = "vdso"
    VVAR = "vvar"
    VSYSCALL = "vsyscall"
    OTHER = "other"
    """Not told: a pre-dump has pages without mappings."""


KERNEL_OWN: Final = frozenset({AreaKind.VVAR, AreaKind.VSYSCALL})
"""Made by the kernel anew at any moment: no image holds them, and no one may read them from outside."""
MAP_SHARED: Final = 1
_KINDS: Final = frozenset(kind.value for kind in AreaKind)
_NAMES: Final = {
    AreaKind.HEAP: "[heap]",
    AreaKind.STACK: "[stack]",
    AreaKind.VDSO: "[vdso]",
    AreaKind.VVAR: "[vvar]",
    AreaKind.VSYSCALL: "[vsyscall]",
    AreaKind.SHARED: "[shared memory]",
}


@dataclass(frozen=True)
class MemoryArea:
    """One mapping.

    Attributes:
        start, end: addresses, bytes, page aligned, end exclusive.
        prot: PROT_READ | PROT_WRITE | PROT_EXEC; flags: MAP_* bits as in the image (of a running process only MAP_SHARED or MAP_PRIVATE).
        kind: what it is.
        name: the mapped path, "[heap]", "[stack]", "[vdso]", or "".
        offset: where it begins in the file or shared object, bytes.
    """

    start: int
    end: int
    prot: int = 0
    flags: int = 0
    kind: AreaKind = AreaKind.OTHER
    name: str = ""
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def perms(self) -> str:
        """Four letters as in /proc/PID/maps: "rw-p"."""
        letters = "".join(letter if self.prot >> bit & 1 else "-" for bit, letter in enumerate("rwx"))
        return letters + ("s" if self.flags & MAP_SHARED else "p")

    def __str__(self) -> str:
        return f"{self.start:x}-{self.end:x} {self.perms} {self.name or self.kind}"


def kind_of_entry(entry: vma_entry) -> AreaKind:
    """The kind that the status bits of an image's mapping say."""
    status = VmaStatus(entry.status)
    table = (
        (VmaStatus.VDSO, AreaKind.VDSO),
        (VmaStatus.VVAR, AreaKind.VVAR),
        (VmaStatus.VSYSCALL, AreaKind.VSYSCALL),
        (VmaStatus.ANON_SHARED | VmaStatus.SYSVIPC | VmaStatus.MEMFD, AreaKind.SHARED),
        (VmaStatus.FILE_SHARED, AreaKind.SHARED_FILE),
        (VmaStatus.FILE_PRIVATE, AreaKind.FILE),
        (VmaStatus.HEAP, AreaKind.HEAP),
        (VmaStatus.STACK, AreaKind.STACK),
        (VmaStatus.ANON_PRIVATE, AreaKind.ANON),
    )
    return next((kind for bits, kind in table if status & bits), AreaKind.OTHER)


def area_of_entry(entry: vma_entry, path: str) -> MemoryArea:
    """A mapping of an image; *path* is its file's, or ""."""
    kind = kind_of_entry(entry)
    return MemoryArea(entry.start, entry.end, entry.prot, entry.flags, kind, path or _NAMES.get(kind, ""), entry.pgoff)


def area_of_maps(area: Area) -> MemoryArea:
    """A mapping of a running process."""
    name = area.path
    if area.is_shared_memory:
        kind = AreaKind.SHARED
    elif area.is_file:
        unnamed = name.startswith(("/memfd:", "/SYSV"))
        kind = AreaKind.SHARED if unnamed else AreaKind.SHARED_FILE if area.shared else AreaKind.FILE
    elif name.startswith("[vvar"):
        kind = AreaKind.VVAR
    else:
        known = {"[heap]": AreaKind.HEAP, "[stack]": AreaKind.STACK, "[vdso]": AreaKind.VDSO, "[vsyscall]": AreaKind.VSYSCALL}
        kind = known.get(name, AreaKind.ANON)
    return MemoryArea(area.start, area.end, area.prot, MAP_SHARED if area.shared else 2, kind, name, area.offset)


@dataclass(frozen=True)
class AreaFilter:
    """A choice of mappings: every field that is not empty must agree.

    Attributes:
        words: kinds ("heap", "stack", "anon", "file", "shared", "vdso"), or parts of names; one of them must fit. "file" and "shared" both
            fit a shared mapping of a file.
        prot: "rw": readable and writable, whatever else; in three letters, as "r--" or "r-x", exactly that.
        ranges: addresses (start, end), end exclusive; only these parts.
    """

    words: tuple[str, ...] = ()
    prot: str = ""
    ranges: tuple[tuple[int, int], ...] = field(default=())

    def __post_init__(self) -> None:
        exact = len(self.prot) == 3
        if set(self.prot) - set("rwx-") or len(self.prot) > 3 or (exact and not re.fullmatch("[r-][w-][x-]", self.prot)):
            raise UsageError("not a protection", repr(self.prot), "letters of rwx, or three as in r-x")

    def fits(self, area: MemoryArea) -> bool:
        """Whether *area* is chosen by kind, name and protection (`ranges` aside)."""
        if self.words and not any(_fits_word(word, area) for word in self.words):
            return False
        letters = area.perms[:3]
        return letters == self.prot if len(self.prot) == 3 else all(letter in letters for letter in self.prot if letter != "-")

    def runs(self, areas: Iterable[MemoryArea]) -> PageRuns:
        """The pages of *areas* that are chosen, whole ones also where a range cuts them."""
        chosen = PageRuns.of((area.start, area.end) for area in areas if self.fits(area))
        if not self.ranges:
            return chosen
        return chosen & PageRuns.of((start & -4096, (end + 4095) & -4096) for start, end in self.ranges)

    def holds(self, start: int, end: int) -> bool:
        """Whether [start, end) lies in one of the ranges."""
        return not self.ranges or any(low <= start and end <= high for low, high in self.ranges)


def _fits_word(word: str, area: MemoryArea) -> bool:
    if word in ("file", "shared"):
        return word in area.kind.value
    return area.kind.value == word if word in _KINDS else word in area.name


def nearest(areas: Sequence[MemoryArea], address: int) -> str:
    """Where memory is that is nearest to *address*, in words: for an address that is in none of *areas*."""
    if not areas:
        return "it has no memory at all"
    area = min(areas, key=lambda it: it.start - address if it.start > address else address - it.end + 1)
    away, side = (area.start - address, "above") if area.start > address else (address - area.end + 1, "below")
    return f"nothing is mapped there; the nearest area is {area}, {away:#x} bytes {side}"
