"""Reads the memory of one task: of a layer through its parents, or of a running process. Every page has a known owner.

`lamina.core.inspect.layer_memory` and `lamina.core.inspect.live_memory` open one; readers need not know which it is.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Final

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, LaminaError
from lamina.core.inspect.areas import MemoryArea, nearest
from lamina.core.inspect.pieces import PieceTable
from lamina.core.inspect.sources import Owner, OwnerKind, Source

WINDOW: Final = 1 << 20
"""Bytes of a window: it stays in the second-level cache between being read and being looked at."""


@dataclass(frozen=True)
class Span:
    """A range of addresses with one owner, in one area.

    Attributes:
        start, end: bytes, end exclusive; not always page aligned.
        owner: who has it; `owner.why` says why it has no content.
        area: the mapping it lies in.
    """

    start: int
    end: int
    owner: Owner
    area: MemoryArea


@dataclass(frozen=True)
class Window:
    """A view of memory for a screen: what can be read, and who has it.

    Attributes:
        start: address of the first byte.
        data: the bytes; zero where there is no content.
        spans: what is mapped there, ascending; between them nothing is mapped.
    """

    start: int
    data: bytes
    spans: tuple[Span, ...]


class Memory:
    """The memory of one task. Use as a context manager; reads may come from several threads.

    Attributes:
        name: for messages: "process 4711 of layer S/3".
        pid: the task.
        areas: its mappings, ascending.
    """

    def __init__(self, name: str, pid: int, areas: Sequence[MemoryArea], table: PieceTable, sources: Sequence[Source]) -> None:
        self.name = name
        self.pid = pid
        self.areas = tuple(areas)
        self._starts = [area.start for area in self.areas]
        self._table = table
        self._sources = tuple(sources)

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files it reads from."""
        for source in self._sources:
            source.close()

    # -- what there is ---------------------------------------------------------------------------------------------------------------

    @cached_property
    def known(self) -> PageRuns:
        """The pages that a layer, a mapped file or the process has; without pages that are zero because they were never written."""
        return self._of(lambda source: source.readable and source.owner.kind is not OwnerKind.ZERO)

    @cached_property
    def readable(self) -> PageRuns:
        """The pages that can be read: `known`, and pages that were never written."""
        return self._of(lambda source: source.readable)

    def owned_by(self, *kinds: OwnerKind) -> PageRuns:
        """The pages whose owner is one of *kinds*."""
        return self._of(lambda source: source.owner.kind in kinds)

    def _of(self, wanted: Callable[[Source], bool]) -> PageRuns:
        return self._table.runs(number for number, source in enumerate(self._sources) if wanted(source))

    def area_at(self, address: int) -> MemoryArea | None:
        """The mapping that holds the byte at *address*."""
        at = bisect_right(self._starts, address) - 1
        return self.areas[at] if at >= 0 and address < self.areas[at].end else None

    def owner(self, address: int) -> Owner:
        """Who has the page at *address*.

        Raises:
            ImageError: nothing is mapped there.
        """
        found = self._table.at(address)
        if found is None:
            raise self._unmapped(address)
        return self._sources[found[0]].owner

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """The owners in [start, end): neighbouring pages of one owner in one area are one span. Unmapped addresses are left out."""
        last: Span | None = None
        for low, high, _, number in self._table.between(start, end):
            owner = self._sources[number].owner
            at = low
            while at < high:
                area = self.area_at(at) or MemoryArea(at, high)
                stop = min(high, area.end)
                if last is not None and last.end == at and last.owner == owner and last.area == area:
                    last = Span(last.start, stop, owner, area)
                else:
                    if last is not None:
                        yield last
                    last = Span(at, stop, owner, area)
                at = stop
        if last is not None:
            yield last

    # -- content ---------------------------------------------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Exactly the *size* bytes at *address*.

        Raises:
            LaminaError: something of it is not mapped, is in no image, was punched, or cannot be read.
        """
        buffer = bytearray(size)
        self.read_into(memoryview(buffer), address)
        return bytes(buffer)

    def read_into(self, view: memoryview, address: int) -> None:
        """Fill *view* with what is at *address*. Raises as `read`."""
        at = address
        for low, high, offset, number in self._table.between(address, address + len(view)):
            if low != at:
                raise self._unmapped(at)
            self._require(number, low)
            self._sources[number].read_into(view[low - address : high - address], offset)
            at = high
        if at != address + len(view):
            raise self._unmapped(at)

    def check(self, address: int, size: int) -> None:
        """Raise, as `read` would, if something of it is not mapped or has no content; nothing is read."""
        at = address
        for low, high, _, number in self._table.between(address, address + size):
            if low != at:
                raise self._unmapped(at)
            self._require(number, low)
            at = high
        if at != address + size:
            raise self._unmapped(at)

    def window(self, address: int, size: int) -> Window:
        """What can be shown of *size* bytes at *address*, whatever is there."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        for low, high, offset, number in self._table.between(address, address + size):
            if self._sources[number].readable:
                with suppress(LaminaError):
                    self._sources[number].read_into(view[low - address : high - address], offset)
        return Window(address, bytes(buffer), tuple(self.spans(address, address + size)))

    def windows(self, runs: PageRuns, size: int = WINDOW, overlap: int = 0) -> Iterator[tuple[int, memoryview, int, bool]]:
        """The content of *runs*, which must be readable, as (address, bytes, how many of them the window before had too, last of its run).

        Each window of a run begins with the last *overlap* bytes of the one before. The bytes are valid until the next window is asked for.
        What cannot be read after all (a running process unmapped it meanwhile) is left out, and ends its run.
        """
        buffer = memoryview(bytearray(overlap + size))
        for start, end in runs:
            at, kept = start, 0
            while at < end:
                wanted = min(size, end - at)
                got, after = self._fill(buffer[kept : kept + wanted], at)
                broken = got < wanted
                if got or kept:
                    yield at - kept, buffer[: kept + got], kept, broken or after == end
                # Through a copy: the two may overlap.
                keep = 0 if broken else min(overlap, kept + got)
                buffer[:keep] = bytes(buffer[kept + got - keep : kept + got])
                at, kept = after, keep

    def _fill(self, view: memoryview, address: int) -> tuple[int, int]:
        """Fill *view* as far as it goes: how many bytes, and the address behind what was read or could not be."""
        end = address + len(view)
        for low, high, offset, number in self._table.between(address, end):
            source = self._sources[number]
            try:
                source.read_into(view[low - address : high - address], offset)
            except LaminaError:
                if source.owner.kind is not OwnerKind.LIVE:
                    raise
                return low - address, min(high, low + PAGE)
        return len(view), end

    # -- refusing --------------------------------------------------------------------------------------------------------------------

    def _unmapped(self, address: int) -> ImageError:
        return ImageError("cannot read", f"{address:#x} in {self.name}", nearest(self.areas, address))

    def _require(self, number: int, address: int) -> None:
        owner = self._sources[number].owner
        if owner.why:
            raise ImageError("cannot read", f"{address & -PAGE:#x} in {self.name}", str(owner))
