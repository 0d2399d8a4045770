"""The mappings that exec made, [vvar], [vvar_vclock] and [vdso]: which of them goes where.

They cannot be mapped, only moved (mremap). Which is which is not in the image: CRIU gives both vvar areas one status bit, and the order of
addresses tells. As they lie side by side, an image may also have them as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area
from lamina.core.errors import ImageError
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry

MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
_VVAR_NAMES: Final = ("[vvar]", "[vvar_vclock]")


@dataclass(frozen=True)
class Move:
    """One mapping of the new process and where the image has it. Addresses and size in bytes."""

    name: str
    old: int
    new: int
    size: int


def _blocks(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours as one, ascending."""
    blocks: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if blocks and blocks[-1][1] == start:
            blocks[-1] = (blocks[-1][0], end)
        else:
            blocks.append((start, end))
    return blocks


def moves(entries: Sequence[vma_entry], areas: Sequence[Area]) -> list[Move]:
    """Pair what the image has with what exec made in *areas* (from maps), by ascending address.

    Raises:
        ImageError: another number or other sizes: the image is from a kernel with another vdso layout.
    """
    pairs: list[Move] = []
    for status, names in ((VmaStatus.VVAR, _VVAR_NAMES), (VmaStatus.VDSO, ("[vdso]",))):
        has = [area for area in areas if area.path in names]
        theirs = _blocks([(entry.start, entry.end) for entry in entries if entry.status & status])
        ours = _blocks([(area.start, area.end) for area in has])
        if [end - start for start, end in theirs] != [end - start for start, end in ours]:
            raise ImageError("cannot restore", "[vdso]", "the image is of a kernel with another vdso layout", "restore on that kernel")
        distance = {start: new - start for (start, _), (new, _) in zip(ours, theirs, strict=True)}
        for area in has:
            start = max(at for at in distance if at <= area.start)
            pairs.append(Move(area.path, area.start, area.start + distance[start], area.size))
    return sorted(pairs, key=lambda move: move.old)


def rebuild(pairs: Sequence[Move], parking: int, calls: CallList) -> None:
    """Step 7, in the leader, after everything else was unmapped and before `vmas.make`.

    If old and new places overlap, all go through *parking*, a free range as long as from the first to the end of the last. Each move unmaps
    nothing but its own old place.
    """
    needed = [pair for pair in pairs if pair.old != pair.new]
    if not needed:
        return
    overlap = any(
        one.new < other.old + other.size and other.old < one.new + one.size for one in needed for other in pairs if one is not other
    ) or any(abs(pair.new - pair.old) < pair.size for pair in needed)
    base = min(pair.old for pair in pairs)
    steps = [(pair.old, parking + pair.old - base, pair) for pair in needed] if overlap else []
    steps += [(parking + pair.old - base if overlap else pair.old, pair.new, pair) for pair in needed]
    for old, new, pair in steps:
        calls.add("mremap", old, pair.size, pair.size, MREMAP_MAYMOVE | MREMAP_FIXED, new, expect=new, about=f"move {pair.name} to {new:x}")
