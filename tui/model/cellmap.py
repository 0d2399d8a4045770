"""An address space as cells: each area from its first page on, so many pages per cell, in lines of a given width.

Nothing is computed for the whole: a line is cut from sorted runs when it is shown, so 100 GiB cost as much as one screen. A cell shows the
last paint that has a page in it, as strongly as the share of its pages that have that paint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, PageRuns


@dataclass(frozen=True)
class MapArea:
    """One area of the address space.

    Attributes:
        start, end: bytes, page aligned.
        name: short, as in "heap" or "libc.so.6".
        note: shown behind the cells, as in "rw- anon".
        blank: glyph of a page that no paint has: "." never touched, "·" as in its file.
    """

    start: int
    end: int
    name: str
    note: str = ""
    blank: str = "."

    @property
    def pages(self) -> int:
        """How many pages it has."""
        return (self.end - self.start) // PAGE


class Paint:
    """Pages that are shown by one glyph. They can be counted within any range without going through all runs."""

    def __init__(self, glyph: str, runs: PageRuns) -> None:
        self.glyph = glyph
        self.runs = runs
        self._before = runs.offsets

    def below(self, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How many of its bytes lie below each of *addresses*."""
        if not self.runs:
            return np.zeros(len(addresses), dtype=np.int64)
        at = np.searchsorted(self.runs.starts, addresses, side="right") - 1
        inside = np.maximum(at, 0)
        part = np.minimum(addresses, self.runs.ends[inside]) - self.runs.starts[inside]
        return np.where(at < 0, 0, (self._before[inside] + part).astype(np.int64))


@dataclass(frozen=True)
class CellLine:
    """One line of cells.

    Attributes:
        area: whose pages they are.
        first: it is the area's first line.
        start: address of the first cell.
        glyphs: one a cell.
        shares: for each cell, the share of its pages that the glyph's paint has, 0 to 1; 0 for a blank one.
    """

    area: MapArea
    first: bool
    start: int
    glyphs: str
    shares: tuple[float, ...]


class CellMap:
    """Areas and paints at one scale and width.

    Attributes:
        areas: ascending.
        paints: later ones lie above earlier ones.
        pages_per_cell: at least 1.
        width: cells of a line, at least 1.
    """

    def __init__(self, areas: Sequence[MapArea], paints: Sequence[Paint], pages_per_cell: int, width: int) -> None:
        self.areas = tuple(areas)
        self.paints = tuple(paints)
        self.pages_per_cell = max(1, pages_per_cell)
        self.width = max(1, width)

    @property
    def cell_bytes(self) -> int:
        """Bytes of a full cell."""
        return self.pages_per_cell * PAGE

    @cached_property
    def _starts(self) -> NDArray[np.uint64]:
        return np.array([area.start for area in self.areas], dtype=np.uint64)

    @cached_property
    def _ends_at(self) -> NDArray[np.int64]:
        """The number of the line after the last one of each area."""
        return np.cumsum([self._lines_of(area) for area in self.areas], dtype=np.int64)

    def _lines_of(self, area: MapArea) -> int:
        return -(-area.pages // (self.pages_per_cell * self.width)) or 1

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return int(self._ends_at[-1]) if self.areas else 0

    def line(self, number: int) -> CellLine:
        """Line *number*, from 0.

        Raises:
            IndexError: there is none of that number.
        """
        if not 0 <= number < self.lines:
            raise IndexError(number)
        at = int(np.searchsorted(self._ends_at, number, side="right"))
        area = self.areas[at]
        within = number - (int(self._ends_at[at - 1]) if at else 0)
        start = area.start + within * self.width * self.cell_bytes
        count = min(self.width, -(-(area.end - start) // self.cell_bytes))
        edges = np.minimum(np.uint64(start) + np.arange(count + 1, dtype=np.uint64) * np.uint64(self.cell_bytes), np.uint64(area.end))
        sizes = np.diff(edges).astype(np.float64)
        glyphs = np.full(count, area.blank)
        shares = np.zeros(count)
        for paint in self.paints:
            has = np.diff(paint.below(edges))
            painted = has > 0
            glyphs[painted] = paint.glyph
            shares[painted] = (has / sizes)[painted]
        return CellLine(area, within == 0, start, "".join(glyphs), tuple(shares.tolist()))

    def counts(self, address: int) -> list[tuple[str, int]]:
        """(glyph, pages) of the cell that *address* lies in: for each paint the pages that no later paint has."""
        place = self.place_of(address)
        if place is None:
            return []
        area = self.line(place[0]).area
        start = self.address_at(*place)
        left = PageRuns.of([(start, min(start + self.cell_bytes, area.end))])
        found: dict[str, int] = {}
        for paint in reversed(self.paints):
            here = left & paint.runs.clip(start, start + self.cell_bytes)
            if here:
                found[paint.glyph] = found.get(paint.glyph, 0) + here.pages
                left = left - here
        return list(found.items())

    def place_of(self, address: int) -> tuple[int, int] | None:
        """The (line, cell) of the page at *address*, or None if it lies in no area."""
        at = int(np.searchsorted(self._starts, np.uint64(address), side="right")) - 1
        if at < 0 or address >= self.areas[at].end:
            return None
        cell = (address - self.areas[at].start) // self.cell_bytes
        return (int(self._ends_at[at - 1]) if at else 0) + cell // self.width, cell % self.width

    def fullest(self) -> int:
        """The start of the area with the most painted pages; 0 if there is no area."""
        if not self.areas:
            return 0
        edges = np.array([(area.start, area.end) for area in self.areas], dtype=np.uint64).ravel()
        painted = sum((np.diff(paint.below(edges))[::2] for paint in self.paints), np.zeros(len(self.areas), dtype=np.int64))
        return self.areas[int(np.argmax(painted))].start

    def nearest(self, address: int) -> int:
        """*address* if it lies in an area, else the first or last page of the nearest one; 0 if there is no area."""
        if not self.areas or self.place_of(address) is not None:
            return address
        at = int(np.searchsorted(self._starts, np.uint64(max(0, address)), side="right"))
        below, above = self.areas[max(0, at - 1)], self.areas[min(at, len(self.areas) - 1)]
        return above.start if abs(above.start - address) <= abs(address - below.end) else below.end - PAGE

    def address_at(self, line: int, cell: int) -> int:
        """The first address of a cell; one behind the end of its line is the line's last."""
        shown = self.line(line)
        return shown.start + min(cell, len(shown.glyphs) - 1) * self.cell_bytes


def fitting_scale(areas: Sequence[MapArea], width: int, lines: int) -> int:
    """The smallest number of pages per cell at which *areas* fit in *lines* lines, or each in one line if there are more areas."""
    largest = max((area.pages for area in areas), default=1)
    low, high = 1, max(1, -(-largest // width))
    while low < high:
        scale = (low + high) // 2
        if sum(-(-area.pages // (scale * width)) for area in areas) > lines:
            low = scale + 1
        else:
            high = scale
    return low
