"""The pages of a difference, counted by area."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.inspect.diff.pages import PageDiff


class PageCount:
    """How many pages of a set lie between two addresses, by two searches."""

    def __init__(self, runs: PageRuns) -> None:
        self._starts = np.append(runs.starts, np.uint64(0xFFFF_FFFF_FFFF_FFFF))
        self._sizes, self._before = runs.sizes, np.append(runs.offsets, np.uint64(runs.bytes))

    def _below(self, address: int) -> int:
        """Bytes of the set below *address*."""
        at = int(np.searchsorted(self._starts, np.uint64(address), side="right")) - 1
        if at < 0:
            return 0
        if at == self._sizes.size:
            return int(self._before[-1])
        return int(self._before[at]) + min(address - int(self._starts[at]), int(self._sizes[at]))

    def between(self, start: int, end: int) -> int:
        """Pages in [start, end)."""
        return (self._below(end) - self._below(start)) // PAGE


@dataclass(frozen=True)
class PageCounts:
    """Pages of one area by what became of them: the sets of `PageDiff`, counted."""

    same: int
    changed: int
    maybe: int
    added: int
    gone: int
    unreadable: int

    @property
    def differs(self) -> bool:
        """Whether anything is not known to be the same."""
        return bool(self.changed or self.maybe or self.added or self.gone or self.unreadable)


def count_by_range(pages: PageDiff, ranges: Sequence[tuple[int, int]]) -> tuple[PageCounts, ...]:
    """The pages of each range (start, end)."""
    counts = [PageCount(runs) for runs in (pages.same, pages.changed, pages.maybe, pages.added, pages.gone, pages.unreadable)]
    return tuple(PageCounts(*(count.between(start, end) for count in counts)) for start, end in ranges)
