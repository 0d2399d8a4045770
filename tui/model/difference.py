"""What differs between two layers, or a layer and the running program, as the diff screen shows it: plain values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.tui.model.address_space import AddressSpace
from lamina.tui.model.cellmap import Paint
from lamina.tui.model.compared import Compared

SAME, CHANGED, MAYBE, ADDED, GONE, LOST = "=*~+-?"
"""Glyphs of pages by what became of them."""
MEANING = {
    SAME: "the same", CHANGED: "changed", MAYBE: "maybe changed, not read yet", ADDED: "new", GONE: "gone", LOST: "cannot be read",
}  # fmt: skip


@dataclass(frozen=True)
class News:
    """One thing that was added (+), removed (-) or replaced (~): a task, a thread, a descriptor, a mapping; or a remark (·).

    For a mapping, *address* is where it begins in the memory of task *pid*; else it is -1.
    """

    sign: str
    text: str
    pid: int = 0
    address: int = -1


@dataclass(frozen=True)
class DiffArea:
    """The pages of one area, counted.

    Attributes:
        which: the task (its pid) or shared object ("shmem-3") on side b.
        start, end: addresses, bytes; pages in no known area reach from the first to the last of them.
        name, perms: as people know it.
        same, changed, maybe, added, gone, lost: pages by what became of them.
    """

    which: int | str
    start: int
    end: int
    name: str
    perms: str
    same: int = 0
    changed: int = 0
    maybe: int = 0
    added: int = 0
    gone: int = 0
    lost: int = 0

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """(glyph, pages); what is the same comes last."""
        return (CHANGED, self.changed), (MAYBE, self.maybe), (ADDED, self.added), (GONE, self.gone), (LOST, self.lost), (SAME, self.same)

    @property
    def differs(self) -> bool:
        """Whether anything is not known to be the same."""
        return any(count for glyph, count in self.counts if glyph != SAME)

    def bar(self, width: int) -> list[tuple[str, int]]:
        """Its pages as *width* cells, (glyph, cells): in proportion, but everything that occurs has a cell if there are enough."""
        present = [(glyph, count) for glyph, count in self.counts if count][:width]
        total = sum(count for _, count in present)
        free = width - len(present)
        ends = np.cumsum([0, *(count for _, count in present)]) * free // max(1, total)
        return [(glyph, 1 + int(ends[at + 1] - ends[at])) for at, (glyph, _) in enumerate(present)]


@dataclass(frozen=True, eq=False)
class DiffMemory:
    """The memory of one task, or one shared object, on both sides.

    Attributes:
        which, which_a: who it is on side b, and on side a.
        space: what the map shows.
        areas: those that differ, ascending; same_areas: how many do not.
        changed: pages whose content differs, or by page map may differ; added, gone: pages that only one side has; lost: cannot be read.
    """

    which: int | str
    which_a: int | str
    space: AddressSpace
    areas: tuple[DiffArea, ...]
    same_areas: int
    changed: PageRuns
    added: PageRuns
    gone: PageRuns
    lost: PageRuns

    def step(self, address: int, forward: bool) -> int | None:
        """The next page to show after *address*, or the one before it: a changed page, or the first of an added, gone or lost run."""
        page = address & -PAGE
        found = [it for it in self._near(page, forward) if it is not None]
        return (min(found) if forward else max(found)) if found else None

    def _near(self, page: int, forward: bool) -> Iterator[int | None]:
        yield page_behind(self.changed, page) if forward else page_before(self.changed, page)
        for runs in (self.added, self.gone, self.lost):
            at = int(np.searchsorted(runs.starts, np.uint64(page), side="right" if forward else "left")) - (0 if forward else 1)
            yield int(runs.starts[at]) if 0 <= at < len(runs) else None

    def first_in(self, start: int, end: int) -> int | None:
        """The first page to show in [start, end)."""
        here = self.step(start - PAGE, True) if start >= PAGE else self.step(0, True)
        return here if here is not None and here < end else None

    def place(self, address: int) -> tuple[int, int]:
        """(3, 12) if the page at *address* is the third of twelve changed ones; (0, 12) if it is not one of them."""
        total = self.changed.pages
        if address not in self.changed:
            return 0, total
        below = Paint(CHANGED, self.changed).below(np.array([(address & -PAGE) + PAGE], dtype=np.uint64))
        return int(below[0]) // PAGE, total

    def fate(self, address: int) -> str:
        """The glyph of the page at *address*; "" if neither side has it."""
        return next((paint.glyph for paint in reversed(self.space.paints) if address in paint.runs), "")


@dataclass(frozen=True, eq=False)
class DiffView:
    """Everything that differs.

    Attributes:
        what: what was compared.
        by_map: contents were not read yet.
        news: tasks, threads, descriptors and mappings that were added, removed or replaced.
        memories: of the tasks that both sides have, the root first, then of shared objects.
        unread: pages whose contents are to be compared.
    """

    what: Compared
    by_map: bool
    news: tuple[News, ...]
    memories: tuple[DiffMemory, ...]
    unread: int = 0

    @property
    def areas(self) -> tuple[DiffArea, ...]:
        """The areas that differ, of all memories."""
        return tuple(area for memory in self.memories for area in memory.areas)

    def memory(self, which: int | str) -> DiffMemory | None:
        """The memory of a task or shared object."""
        return next((memory for memory in self.memories if memory.which == which), None)


def page_behind(runs: PageRuns, page: int) -> int | None:
    """The first page of *runs* behind the one at *page*."""
    at = int(np.searchsorted(runs.ends, np.uint64(page + PAGE), side="right"))
    return max(int(runs.starts[at]), page + PAGE) if at < len(runs) else None


def page_before(runs: PageRuns, page: int) -> int | None:
    """The last page of *runs* before the one at *page*."""
    at = int(np.searchsorted(runs.starts, np.uint64(page), side="left")) - 1
    return min(int(runs.ends[at]), page) - PAGE if at >= 0 else None
