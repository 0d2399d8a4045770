"""`--paranoid`: all memory is read once more inside the freeze and compared with what the layer would hold.

It trusts no tracker: a page that nobody reported and that is old in the layer, or in the parent that it would be inherited from, is found,
named and written. The freeze lasts as long as reading everything takes (docs/tracking.md, "Pinned pages").
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lamina.core.attach.procfs import PAGE, Area
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.runs import PageRuns
from lamina.core.dump.memory import Moved, PageStore
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.image.storage.content import Content

STEP_BYTES = 1 << 20
# Places named in a notice; the others are counted.
NAMED = 8


@dataclass(frozen=True)
class Stretch:
    """Pages that lie back to back in memory, and where the layer would have them from.

    Attributes:
        address, size: in memory, bytes.
        read: (size, at): bytes from byte *at* of the stretch on, as the layer would have them.
    """

    address: int
    size: int
    read: Callable[[int, int], bytes]


class Paranoia:
    """Compares the tasks of one dump, one after the other, while they stand still."""

    def __init__(self, parents: Sequence[Layer]) -> None:
        """*parents*: the chain of the parent, nearest first; empty for a full dump."""
        self._parents = parents
        self._buffer = WarmBuffer(STEP_BYTES)
        self.compared = 0
        self.differed = 0
        self._places: list[str] = []

    def check(self, memory: TaskMemory, areas: Sequence[Area], moved: Moved) -> None:
        """Compare all that *memory* has after its last round, and have written what differs. *areas*: the mappings of the frozen task."""
        store = memory.store
        if not isinstance(store, PageStore):
            raise TypeError("only pages files can be read back")
        wrong = PageRuns.empty()
        for stretch in itertools.chain(_taken(store, memory.own), self._inherited(memory)):
            for at in range(0, stretch.size, STEP_BYTES):
                size = min(STEP_BYTES, stretch.size - at)
                wrong |= self._differing(memory.pid, stretch, at, size)
                moved(size)
        self.compared += (memory.own | memory.inherited).pages
        if wrong:
            memory.own_too(wrong, moved)
            self.differed += wrong.pages
            self._places += _in_words(memory.pid, wrong, areas)

    def _differing(self, pid: int, stretch: Stretch, at: int, size: int) -> PageRuns:
        start = stretch.address + at
        copy_runs(pid, PageRuns.of([(start, start + size)]), self._buffer)
        there = np.frombuffer(self._buffer.view[:size], np.uint8).reshape(-1, PAGE)
        held = np.frombuffer(stretch.read(size, at).ljust(size, b"\0"), np.uint8).reshape(-1, PAGE)
        pages = np.flatnonzero((there != held).any(axis=1)).astype(np.uint64)
        return PageRuns.from_pages(np.uint64(start) + pages * np.uint64(PAGE))

    def _inherited(self, memory: TaskMemory) -> Iterator[Stretch]:
        if not memory.inherited:
            return
        for share in resolve(self._parents, memory.pid).shares:
            with share.open() as content:
                for begin, stop, offset in zip(share.runs.starts.tolist(), share.runs.ends.tolist(), share.offsets.tolist(), strict=True):
                    for start, end in memory.inherited.clip(begin, stop):
                        yield Stretch(start, end - start, partial(_read_from, content, offset + start - begin))

    def notice(self) -> str:
        """What was found, in a sentence."""
        if not self.differed:
            return f"all {self.compared} pages were compared inside the freeze, and are equal"
        more = len(self._places) - NAMED
        places = "; ".join(self._places[:NAMED]) + (f"; and {more} places more" if more > 0 else "")
        return (
            f"{self.differed} of {self.compared} pages differed from what the layer would have held, and were written anew: {places}. "
            "Something writes into this memory in a way that cannot be tracked: keep --paranoid for it, and report it"
        )


def _taken(store: PageStore, own: PageRuns) -> Iterator[Stretch]:
    for piece in store.pieces(own):
        yield Stretch(piece.address, piece.size, partial(store.read, piece))


def _read_from(content: Content, offset: int, size: int, at: int) -> bytes:
    return content.pread(size, offset + at)


def _in_words(pid: int, wrong: PageRuns, areas: Iterable[Area]) -> Iterator[str]:
    for area in areas:
        part = wrong.clip(area.start, area.end)
        for start, end in part:
            name = area.path or "anonymous memory"
            yield f"process {pid}, {start:x}-{end:x} ({(end - start) // PAGE} pages of {name})"
