"""Which page of a layer comes from which layer, as a screen and a command line show it: sums, strips of the address space, runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.ffi import C
from lamina.core.image.layer import Layer, Object
from lamina.core.image.owners import OwnerMap, resolve
from lamina.core.inspect.areas import MemoryArea, area_of_entry
from lamina.core.inspect.image_areas import ImageFiles, entries_of
from lamina.core.inspect.pieces import columns_of, cut

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
FARTHER: Final = "+"
"""The sign of owners that no letter is left for."""
NOBODY: Final = "."
PUNCHED: Final = "!"
LACKING: Final = "?"
_AREAS_AT_ONCE: Final = 64


class OwnedRun(NamedTuple):
    """Adjacent pages. *owner* is the index in the chain, *offset* the place in its pages file; both None for pages that no layer has.

    *state* is "data", "punched", "nowhere" (a map names it without data) or "missing" (a map leaves it to a parent that lacks it).
    """

    start: int
    end: int
    owner: int | None
    offset: int | None
    state: str


@dataclass(frozen=True)
class OwnerSum:
    """What one layer of the chain owns.

    Attributes:
        letter: its sign in the strips; the layer itself is "a", its parent "b".
        index: its place in the chain.
        layer: which it is.
        pages: how many it owns; punched: how many of them dedup freed.
    """

    letter: str
    index: int
    layer: Layer
    pages: int
    punched: int


@dataclass(frozen=True)
class AreaStrip:
    """One area as a line of signs, each for the same number of pages.

    Attributes:
        area: which; None for memory without areas (a pre-dump, a shared object): then the strip goes from its first page to its last.
        pages: how many somebody owns.
        strip: the letter of who owns most of a cell; NOBODY where no image has a page, PUNCHED or LACKING where a page is lost.
    """

    area: MemoryArea | None
    pages: int
    strip: str


@dataclass(frozen=True, eq=False)
class Ownership:
    """The owner map of one task or shared object, summed up.

    Attributes:
        which: the task (its pid) or object ("shmem-ID"); name: the task's, or "".
        owners: who owns something, the layer itself first.
        missing, nowhere: pages that nobody has, see `OwnedRun`.
        map: all of it.
    """

    which: Object
    name: str
    owners: tuple[OwnerSum, ...]
    missing: int
    nowhere: int
    map: OwnerMap

    def runs(self) -> Iterator[OwnedRun]:
        """Every run in address order. As long as there are runs: up to millions."""
        lost = self.map.punched
        pieces = self.map.pieces
        for start, end, offset, owner, kind in zip(
            *(column.tolist() for column in (pieces.starts, pieces.ends, pieces.offsets, pieces.owners, pieces.kinds)), strict=True
        ):
            if kind != C.LM_OWNED_DATA:
                yield OwnedRun(start, end, None, None, "nowhere" if kind == C.LM_OWNED_NOWHERE else "missing")
                continue
            at = start
            for low, high in lost.clip(start, end) if lost else ():
                if low > at:
                    yield OwnedRun(at, low, owner, offset + at - start, "data")
                yield OwnedRun(low, high, owner, offset + low - start, "punched")
                at = high
            if at < end:
                yield OwnedRun(at, end, owner, offset + at - start, "data")


def letter_of(index: int) -> str:
    """The sign of the layer at *index* of the chain."""
    return LETTERS[index] if index < len(LETTERS) else FARTHER


def ownership(layer: Layer, which: Object, chain: Sequence[Layer] | None = None) -> Ownership:
    """Who owns what of *which* in *layer*; *chain* is `layer.chain()`, if the caller has it.

    Raises:
        ImageError: the layer has no memory of it, or a map is damaged.
    """
    owners = resolve(chain or layer.chain(), which)
    punched = owners.punched
    sums = []
    for index, pieces in owners.pieces.data.by_owner():
        runs = PageRuns(pieces.starts, pieces.ends)
        sums.append(OwnerSum(letter_of(index), index, owners.chain[index], runs.pages, (runs & punched).pages if punched else 0))
    name = ""
    if isinstance(which, int) and not layer.is_pre_dump:
        name = layer.core(which).tc.comm.decode(errors="surrogateescape")
    return Ownership(which, name, tuple(sums), sum(runs.pages for _, runs in owners.missing), owners.nowhere.pages, owners)


def strips(layer: Layer, found: Ownership, width: int = 64) -> tuple[AreaStrip, ...]:
    """The address space, a line for each area that has a page in an image: at most *width* signs, at least one page a sign.

    Raises:
        ImageError: the mappings of the task cannot be read.
    """
    areas: list[MemoryArea | None] = [None]
    everything = found.map.pieces
    if not len(everything):
        return ()
    if isinstance(found.which, int) and not layer.is_pre_dump:
        files = ImageFiles(layer, found.which)
        areas = [area_of_entry(entry, files.path(entry)) for entry in entries_of(layer, found.which)]
    spans = [(area.start, area.end) if area else (int(everything.starts[0]), int(everything.ends[-1])) for area in areas]
    lines: list[AreaStrip] = []
    for first in range(0, len(areas), _AREAS_AT_ONCE):
        some = spans[first : first + _AREAS_AT_ONCE]
        for at, (pages, strip) in enumerate(_strips(found, some, width)):
            if pages or set(strip) - {NOBODY}:
                lines.append(AreaStrip(areas[first + at], pages, strip))
    return tuple(lines)


def _strips(found: Ownership, spans: Sequence[tuple[int, int]], width: int) -> Iterator[tuple[int, str]]:
    """(pages owned, strip) of each span."""
    cells: list[tuple[int, int]] = []
    heads = []
    for start, end in spans:
        heads.append(len(cells))
        pages = (end - start) // PAGE
        count = min(width, pages)
        edges = [start + pages * n // count * PAGE for n in range(count + 1)]
        cells += pairwise(edges)
    begins, stops = columns_of(cells)
    pieces = found.map.pieces
    # Who has how much of each cell: a column for each layer, and one more for what is lost.
    columns = len(found.map.chain) + 1
    low, high, index = cut(PageRuns(begins, stops), pieces.starts, pieces.ends)
    owner = np.where(pieces.kinds[index] == C.LM_OWNED_DATA, pieces.owners[index], columns - 1).astype(np.int64)
    cell = np.searchsorted(begins, low, side="right") - 1
    amount: NDArray[np.float64] = np.bincount(cell * columns + owner, weights=high - low, minlength=len(cells) * columns).astype(np.float64)
    table = amount.reshape(len(cells), columns)
    owned = table[:, :-1].sum(axis=1)
    best = table[:, :-1].argmax(axis=1)
    signs = [letter_of(int(at)) if some else NOBODY for at, some in zip(best, owned, strict=True)]
    for at in np.flatnonzero(table[:, -1]).tolist():
        signs[at] = LACKING
    if punched := found.map.punched:
        low, _, _ = cut(PageRuns(begins, stops), punched.starts, punched.ends)
        for at in (np.searchsorted(begins, low, side="right") - 1).tolist():
            signs[at] = PUNCHED
    for head, tail in zip(heads, [*heads[1:], len(cells)], strict=True):
        yield int(owned[head:tail].sum()) // PAGE, "".join(signs[head:tail])
