"""Arithmetic of address spaces: what must go, what must stay, and where something fits that is in nobody's way. No process is touched."""

from collections.abc import Iterable, Sequence

from lamina.core.attach.procfs import PAGE
from lamina.core.errors import ImageError

Span = tuple[int, int]
"""First byte and first byte behind."""
USER_LIMIT = 0x7FFF_FFFF_F000
"""End of what exec and mmap without a hint use on x86-64 (TASK_SIZE of 4-level page tables)."""
LOWEST = 1 << 20
"""Above any vm.mmap_min_addr in use."""
PARKING = 1 << 20
"""Free bytes behind the scratch range, for mappings that must get out of each other's way."""
MARGIN = 4 << 20
"""Kept free on both sides: the stack guard gap is 1 MiB, and a heap may grow."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same bytes as ascending spans that neither overlap nor touch; empty ones are dropped."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def outside(kept: Iterable[Span], limit: int = USER_LIMIT) -> list[Span]:
    """Everything from 0 to *limit* that is in none of *kept*, ascending: what is unmapped so that only *kept* stays."""
    gaps: list[Span] = []
    at = 0
    for start, end in merged(kept):
        if at < min(start, limit):
            gaps.append((at, min(start, limit)))
        at = max(at, end)
    if at < limit:
        gaps.append((at, limit))
    return gaps


def free_span(taken: Iterable[Span], size: int, limit: int = USER_LIMIT) -> int:
    """Where *size* bytes (page aligned) lie in the middle of the widest gap between *taken*, `MARGIN` away from all of it.

    Raises:
        ImageError: no gap is wide enough.
    """
    gaps = [(max(start, LOWEST), end) for start, end in outside(taken, limit)]
    width, start = max(((end - start, start) for start, end in gaps), default=(0, 0))
    if width < size + 2 * MARGIN:
        raise ImageError("cannot restore", "address space", f"it has no free gap of {(size + 2 * MARGIN) >> 20} MiB to work in")
    return (start + (width - size) // 2) // PAGE * PAGE


def whole_blocks(starts: Sequence[int], ends: Sequence[int], block: int) -> list[Span]:
    """The parts of the given runs that are whole aligned blocks of *block* bytes (a power of two)."""
    spans = ((-(-start // block) * block, end // block * block) for start, end in zip(starts, ends, strict=True))
    return [span for span in spans if span[0] < span[1]]
