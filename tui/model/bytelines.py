"""An address space as lines of 16 bytes without the gaps: from the number of a line to its address and back, without a list of lines."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

LINE = 16


class ByteLines:
    """The lines of some areas.

    Attributes:
        areas: (start, end) in bytes, ascending, multiples of `LINE`.
    """

    def __init__(self, areas: Sequence[tuple[int, int]]) -> None:
        self.areas = tuple(areas)
        self._starts = [start for start, _ in self.areas]
        self._before = [0, *accumulate((end - start) // LINE for start, end in self.areas)]

    @property
    def count(self) -> int:
        """How many lines there are."""
        return self._before[-1]

    def address_of(self, line: int) -> int:
        """The address of the first byte of *line*, which is clamped to the lines there are; 0 if there are none."""
        if not self.areas:
            return 0
        line = max(0, min(line, self.count - 1))
        at = bisect_right(self._before, line) - 1
        return self._starts[at] + (line - self._before[at]) * LINE

    def line_of(self, address: int) -> int | None:
        """The line that has *address*, or None if it lies in a gap."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self.areas[at][1]:
            return None
        return self._before[at] + (address - self._starts[at]) // LINE

    def stretches(self, line: int, count: int) -> tuple[tuple[int, int], ...]:
        """The *count* lines from *line* on, as far as there are so many, as stretches without gaps (address, bytes)."""
        first, last = max(0, line), min(line + count, self.count)
        found = []
        at = bisect_right(self._before, first) - 1
        while first < last:
            stop = min(last, self._before[at + 1])
            found.append((self._starts[at] + (first - self._before[at]) * LINE, (stop - first) * LINE))
            first, at = stop, at + 1
        return tuple(found)

    def area_start(self, address: int, by: int) -> int:
        """The start of the area that is *by* areas away from the one that holds *address*, or of the first or last."""
        at = bisect_right(self._starts, address) - 1 + by
        return self._starts[max(0, min(at, len(self._starts) - 1))] if self.areas else 0
