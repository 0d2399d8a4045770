"""Pages of one address space on two sides, in two levels.

By map: pages at the same offset of the same file are equal without being read. That needs arrays only; all other pages are "maybe".
By content: only these others are read and compared.
"""

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.events import CancelToken
from lamina.core.image.compare_pages import ADDED, GONE, OTHER, SAME, ComparedPieces, compare_owners, equal_pages, equal_stretches
from lamina.core.image.owners import OwnerMap
from lamina.core.image.storage.content import Content
from lamina.core.inspect.pieces import cut

STEP_PAGES: Final = 2048
"""Pages compared between two looks at progress and cancellation: 8 MiB of each side."""
_MOST_OPEN: Final = 64
_WORKERS: Final = min(4, os.cpu_count() or 1)
_NONE: Final = PageRuns.empty()

Done = Callable[[int], None]
"""Told how many more pages have been compared."""


@dataclass(frozen=True, eq=False)
class PageDiff:
    """Every page that either side knows, in exactly one of these sets.

    Attributes:
        same: the same content.
        changed: another content.
        maybe: both know it, at different places, and it was not read (by map).
        added, gone: only side b, or a, holds it. What no image holds is zero, or its file's own page.
        unreadable: both know it, but one has lost the content: punched, inherited from nowhere, or unmapped meanwhile by a running process.
    """

    same: PageRuns = _NONE
    changed: PageRuns = _NONE
    maybe: PageRuns = _NONE
    added: PageRuns = _NONE
    gone: PageRuns = _NONE
    unreadable: PageRuns = _NONE

    @property
    def differs(self) -> bool:
        """Whether anything is not known to be the same."""
        return bool(self.changed or self.maybe or self.added or self.gone or self.unreadable)


class SidePages(ABC):
    """What one side knows of one address space. Close it after use.

    Attributes:
        runs: the pages whose content it has.
        lost: pages it knows without having their content.
    """

    runs: PageRuns
    lost: PageRuns

    @abstractmethod
    def read_into(self, runs: PageRuns, view: memoryview) -> PageRuns:
        """Read *runs*, which it must have, one after the other into *view*. Returns the pages that could not be read after all.

        Raises:
            LaminaError: a file or the process is gone.
        """

    def close(self) -> None:
        """Close what it has open."""


class PagesOfLayer(SidePages):
    """The pages of a task or shared object of a layer, through its parents."""

    def __init__(self, owners: OwnerMap) -> None:
        self.owners = owners
        lost = owners.nowhere
        for _, runs in owners.missing:
            lost |= runs
        self.punched = owners.punched
        self.lost = lost | self.punched
        self._open: OrderedDict[int, Content] = OrderedDict()

    @property
    @override
    def runs(self) -> PageRuns:  # type: ignore[override]  # computed when first asked for: by map it is not needed
        return self.owners.runs - self.punched

    def content(self, owner: int) -> Content:
        """The pages file of a layer of the chain, open; of many layers the least recently used one is closed."""
        found = self._open.pop(owner, None)
        if found is None:
            while len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            found = self.owners.chain[owner].open_pages(self.owners.which)
        self._open[owner] = found
        return found

    def file(self, owner: int) -> str:
        """The name of that pages file, for messages."""
        return str(self.owners.chain[owner].pages_path(self.owners.which))

    @override
    def read_into(self, runs: PageRuns, view: memoryview) -> PageRuns:
        pieces = self.owners.pieces.data
        starts, ends, index = cut(runs, pieces.starts, pieces.ends)
        offsets = pieces.offsets[index] + (starts - pieces.starts[index])
        at = 0
        for owner, offset, size in zip(pieces.owners[index].tolist(), offsets.tolist(), (ends - starts).tolist(), strict=True):
            data = self.content(owner).pread(size, offset)
            if len(data) != size:
                raise ImageError("truncated image", self.file(owner), f"it ends at {offset + len(data)}, before its pages do")
            view[at : at + size] = data
            at += size
        return _NONE

    @override
    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def diff_pages(a: SidePages, b: SidePages, contents: bool = True, cancel: CancelToken | None = None, done: Done | None = None) -> PageDiff:
    """The pages of both sides; by map only unless *contents*.

    Raises:
        LaminaError: a pages file is missing or too short, or the process has ended.
        Cancelled: *cancel* was set.
    """
    if isinstance(a, PagesOfLayer) and isinstance(b, PagesOfLayer):
        places = _places(a, b)
        same, other = places.of(SAME), places.of(OTHER)
        added, gone = places.of(ADDED), places.of(GONE)
    else:
        places = None
        same, other, added, gone = _NONE, a.runs & b.runs, b.runs - a.runs, a.runs - b.runs
    unreadable = _NONE
    if a.lost or b.lost:
        lost = a.lost | b.lost
        known_a, known_b = a.runs | a.lost, b.runs | b.lost
        added, gone = known_b - known_a, known_a - known_b
        unreadable = (known_a & known_b & lost) - same
        other -= lost
    if not contents:
        return PageDiff(same, maybe=other, added=added, gone=gone, unreadable=unreadable)
    compared = _Comparison(a, b, cancel, done)
    if places is not None and isinstance(a, PagesOfLayer) and isinstance(b, PagesOfLayer):
        compared.by_files(a, b, places, other)
    else:
        compared.by_reading(other)
    changed, lost = compared.changed(), compared.lost
    return PageDiff(same | (other - changed - lost), changed - lost, added=added, gone=gone, unreadable=unreadable | lost)


def _places(a: PagesOfLayer, b: PagesOfLayer) -> ComparedPieces:
    """Both sides' pieces, their owners numbered alike."""
    numbers: dict[tuple[object, ...], int] = {}

    def numbered(held: PagesOfLayer) -> NDArray[np.uint16]:
        return np.array([numbers.setdefault(layer.key, len(numbers)) for layer in held.owners.chain], dtype=np.uint16)

    mine, theirs = numbered(a), numbered(b)
    return compare_owners(a.owners.pieces.data.renumbered(mine), b.owners.pieces.data.renumbered(theirs))


class _Comparison:
    """The reading and comparing of pages, and what was found."""

    def __init__(self, a: SidePages, b: SidePages, cancel: CancelToken | None, done: Done | None) -> None:
        self._a, self._b = a, b
        self._cancel, self._done = cancel, done
        self._changed: list[Addresses] = []
        self.lost = _NONE

    def changed(self) -> PageRuns:
        return PageRuns.from_pages(np.concatenate(self._changed)) if self._changed else _NONE

    def _step(self, pages: Addresses, equal: NDArray[np.bool_]) -> None:
        if not equal.all():
            self._changed.append(pages[~equal])
        if self._done:
            self._done(pages.size)
        if self._cancel:
            self._cancel.check("comparing pages")

    def by_reading(self, runs: PageRuns) -> None:
        """Whatever the sides are: read some of both, compare, go on."""
        one, other = (memoryview(bytearray(min(runs.bytes, STEP_PAGES * PAGE))) for _ in range(2))
        for part in runs.split(STEP_PAGES):
            for held, view in ((self._a, one), (self._b, other)):
                self.lost |= held.read_into(part, view[: part.bytes])
            self._step(part.addresses(), equal_pages(one[: part.bytes], other[: part.bytes]))

    def by_files(self, a: PagesOfLayer, b: PagesOfLayer, places: ComparedPieces, wanted: PageRuns) -> None:
        """Two layers: in C from file to file, the stretches of one pair of files together."""
        mask = places.kinds == OTHER
        starts, ends, index = _short(*cut(wanted, places.starts[mask], places.ends[mask]))
        at_a, at_b = places.at_a[mask][index], places.at_b[mask][index]
        mine, theirs = a.owners.pieces.data, b.owners.pieces.data
        offsets_a = mine.offsets[at_a] + (starts - mine.starts[at_a])
        offsets_b = theirs.offsets[at_b] + (starts - theirs.starts[at_b])
        pair = mine.owners[at_a].astype(np.uint32) << 16 | theirs.owners[at_b]
        pool = ThreadPoolExecutor(_WORKERS)
        try:
            for number, chosen in _groups(pair):
                owner_a, owner_b = number >> 16, number & 0xFFFF
                one, other = a.content(owner_a), b.content(owner_b)
                steps = list(_steps(chosen, ends - starts))
                if one.fd is None or other.fd is None:
                    for some in steps:
                        self.by_reading(PageRuns.from_arrays(starts[some], ends[some]))
                    continue
                compare = partial(_equal, one.fd, offsets_a, other.fd, offsets_b, ends - starts)
                try:
                    for some, equal in zip(steps, pool.map(compare, steps), strict=True):
                        self._step(PageRuns(starts[some], ends[some]).addresses(), equal)
                except NativeError as error:
                    name = a.file(owner_a) if error.object_id == one.fd else b.file(owner_b)
                    raise ImageError("cannot read image", name, error.detail or error.reason) from error
        finally:
            # What was begun reads from files that are closed next.
            pool.shutdown(cancel_futures=True)


def _equal(a: int, offsets_a: Addresses, b: int, offsets_b: Addresses, sizes: Addresses, some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pages of the stretches *some* are equal; the files are open descriptors."""
    return equal_stretches(a, offsets_a[some], b, offsets_b[some], sizes[some])


def _short(starts: Addresses, ends: Addresses, index: NDArray[np.int64]) -> tuple[Addresses, Addresses, NDArray[np.int64]]:
    """The same stretches, none longer than STEP_PAGES pages."""
    step = np.uint64(STEP_PAGES * PAGE)
    counts = ((ends - starts + step - np.uint64(1)) // step).astype(np.int64)
    which = np.repeat(np.arange(starts.size), counts)
    nth = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
    low = starts[which] + nth.astype(np.uint64) * step
    return low, np.minimum(low + step, ends[which]), index[which]


def _groups(numbers: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(number, indices where it stands), ascending by number."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    heads = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if order.size else order
    for first, last in zip(heads.tolist(), [*heads[1:].tolist(), order.size] if order.size else [], strict=True):
        yield int(ordered[first]), order[first:last]


def _steps(chosen: NDArray[np.int64], sizes: Addresses) -> Iterator[NDArray[np.int64]]:
    """*chosen* in portions of about STEP_PAGES pages."""
    step = np.cumsum(sizes[chosen]) // np.uint64(STEP_PAGES * PAGE)
    borders = np.flatnonzero(np.diff(step)) + 1
    yield from np.split(chosen, borders)
