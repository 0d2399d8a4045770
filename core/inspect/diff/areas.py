"""Areas of one task on two sides: mapped, unmapped, grown and shrunk, protected otherwise, replaced by others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from lamina.core.inspect.areas import KERNEL_OWN, AreaKind, MemoryArea

_FILES = frozenset({AreaKind.FILE, AreaKind.SHARED_FILE})


class AreaHow(StrEnum):
    """What happened to a range of addresses from side a to side b."""

    ADDED = "added"
    GONE = "gone"
    GREW = "grew"
    """Newly mapped, and part of an area that was there."""
    SHRANK = "shrank"
    """No longer mapped, and part of an area that is still there."""
    PROTECTION = "protection"
    REPLACED = "replaced"
    """Another file, another part of it, or another kind of memory."""


@dataclass(frozen=True)
class AreaChange:
    """A range of addresses that is mapped differently on the two sides.

    Attributes:
        pid: the task, on side b.
        start, end: addresses, bytes.
        how: what became of it.
        a, b: the area that it is a part of on each side; None where it is not mapped.
    """

    pid: int
    start: int
    end: int
    how: AreaHow
    a: MemoryArea | None
    b: MemoryArea | None


def diff_areas(pid: int, a: Sequence[MemoryArea], b: Sequence[MemoryArea]) -> tuple[AreaChange, ...]:
    """What differs between the mappings of one task; both sequences ascend. One change for each stretch, joined over borders of areas only
    where both sides go on alike.
    """
    found: list[AreaChange] = []
    stretches = list(_stretches(a, b))
    met_a = {id(one) for _, _, one, other in stretches if one and other and _alike(one, other)}
    met_b = {id(other) for _, _, one, other in stretches if one and other and _alike(one, other)}
    for start, end, one, other in stretches:
        how = _how(one, other, id(one) in met_a, id(other) in met_b)
        if how is None:
            continue
        last = found[-1] if found else None
        if last and last.end == start and last.how is how and last.a is one and last.b is other:
            found[-1] = replace(last, end=end)
        else:
            found.append(AreaChange(pid, start, end, how, one, other))
    return tuple(found)


def _how(a: MemoryArea | None, b: MemoryArea | None, met_a: bool, met_b: bool) -> AreaHow | None:
    if a is None:
        return AreaHow.GREW if met_b else AreaHow.ADDED
    if b is None:
        return AreaHow.SHRANK if met_a else AreaHow.GONE
    if not _alike(a, b):
        return AreaHow.REPLACED
    return AreaHow.PROTECTION if a.perms != b.perms else None


def _alike(a: MemoryArea, b: MemoryArea) -> bool:
    """Whether one may be the other, protected or sized otherwise. Where an area begins in its file moves with its start."""
    if a.kind is not b.kind or (a.name != b.name and a.kind not in KERNEL_OWN):
        return False
    return a.kind not in _FILES or a.offset - a.start == b.offset - b.start


def _stretches(a: Sequence[MemoryArea], b: Sequence[MemoryArea]) -> Iterator[tuple[int, int, MemoryArea | None, MemoryArea | None]]:
    """Both sides cut at the borders of either: (start, end, area of a, area of b), without what neither has."""
    borders = sorted({edge for area in (*a, *b) for edge in (area.start, area.end)})
    at_a = at_b = 0
    for start, end in pairwise(borders):
        while at_a < len(a) and a[at_a].end <= start:
            at_a += 1
        while at_b < len(b) and b[at_b].end <= start:
            at_b += 1
        one = a[at_a] if at_a < len(a) and a[at_a].start <= start else None
        other = b[at_b] if at_b < len(b) and b[at_b].start <= start else None
        if one or other:
            yield start, end, one, other


def all_areas(a: Sequence[MemoryArea], b: Sequence[MemoryArea]) -> tuple[MemoryArea, ...]:
    """The areas of side b, and of side a what lies between them: together every address that either side has mapped, once."""
    parts = [replace(one, start=start, end=end) for start, end, one, other in _stretches(a, b) if one and not other]
    return tuple(sorted((*b, *parts), key=lambda area: area.start))
