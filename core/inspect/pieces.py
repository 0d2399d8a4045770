"""An address space as pieces with one source each, in columns, so that millions of pieces are searched and cut with arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import Addresses, PageRuns


@dataclass(frozen=True, eq=False)
class PieceTable:
    """Ascending and disjoint.

    Attributes:
        starts, ends: addresses, bytes.
        offsets: where each begins in its source, bytes.
        sources: the source, by number.
    """

    starts: Addresses
    ends: Addresses
    offsets: Addresses
    sources: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.starts.size)

    def between(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(start, end, offset in the source, source) of what lies in [start, end), cut to it, as Python numbers."""
        first = int(np.searchsorted(self.ends, np.uint64(start), side="right"))
        last = int(np.searchsorted(self.starts, np.uint64(end), side="left"))
        part = slice(first, max(first, last))
        columns = (self.starts[part].tolist(), self.ends[part].tolist(), self.offsets[part].tolist(), self.sources[part].tolist())
        for low, high, offset, source in zip(*columns, strict=True):
            begin = max(low, start)
            yield begin, min(high, end), offset + begin - low, source

    def at(self, address: int) -> tuple[int, int] | None:
        """(source, offset in it) of one byte; None if there is no piece."""
        return next(((source, offset) for _, _, offset, source in self.between(address, address + 1)), None)

    def runs(self, wanted: Iterable[int]) -> PageRuns:
        """The pages that come from one of the sources *wanted*."""
        mask = np.isin(self.sources, np.fromiter(wanted, dtype=np.int32))
        return PageRuns.from_arrays(self.starts[mask], self.ends[mask])


class PieceBuilder:
    """Collects pieces in any order. They must not overlap."""

    def __init__(self) -> None:
        self._columns: list[tuple[Addresses, Addresses, Addresses, NDArray[np.int32]]] = []

    def add(self, starts: Addresses, ends: Addresses, offsets: Addresses, source: int | NDArray[np.int32]) -> None:
        """Pieces of one source, or of one source each."""
        sources = np.full(starts.size, source, dtype=np.int32) if isinstance(source, int) else source
        if starts.size:
            self._columns.append((starts, ends, offsets, sources))

    def add_runs(self, runs: PageRuns, source: int) -> None:
        """Pieces of a source that is read by address, or that has no offsets."""
        self.add(runs.starts, runs.ends, runs.starts, source)

    def add_part(self, pieces: "tuple[Addresses, Addresses, Addresses]", wanted: PageRuns, source: int) -> None:
        """Of *pieces* (starts, ends, offsets) what lies in *wanted*."""
        starts, ends, offsets = pieces
        low, high, index = cut(wanted, starts, ends)
        self.add(low, high, offsets[index] + (low - starts[index]), source)

    def build(self) -> PieceTable:
        """All of them, in address order."""
        if not self._columns:
            none = PageRuns.empty().starts
            return PieceTable(none, none, none, np.empty(0, dtype=np.int32))
        starts = np.concatenate([column[0] for column in self._columns])
        order = np.argsort(starts, kind="stable")
        ends, offsets, sources = (np.concatenate([column[n] for column in self._columns])[order] for n in (1, 2, 3))
        return PieceTable(starts[order], ends, offsets, sources)


def cut(runs: PageRuns, starts: Addresses, ends: Addresses) -> tuple[Addresses, Addresses, NDArray[np.int64]]:
    """*runs* cut at the borders of the ascending, disjoint intervals [starts, ends): (starts, ends, index of the interval) of each part."""
    first = np.searchsorted(ends, runs.starts, side="right")
    last = np.searchsorted(starts, runs.ends, side="left")
    counts = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(runs)), counts)
    index = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    return np.maximum(runs.starts[which], starts[index]), np.minimum(runs.ends[which], ends[index]), index


def columns_of(intervals: Sequence[tuple[int, int]]) -> tuple[Addresses, Addresses]:
    """(starts, ends) of address pairs."""
    table = np.array(intervals, dtype=np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
