"""Searching the memory the hex view shows. Called in worker threads."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lamina.tui.read.page_bytes import MemorySource, area_name

if TYPE_CHECKING:
    from lamina.core.events import CancelToken, Event, Progress
    from lamina.core.inspect.areas import AreaFilter
    from lamina.core.inspect.memory_reader import Memory
    from lamina.core.inspect.patterns import Pattern

MOST_HITS = 10_000


class How(Enum):
    """How the typed text is meant."""

    TEXT = "text"
    REGEX = "regex"
    HEX = "hex"
    INT64 = "int64"
    INT32 = "int32"
    FLOAT = "double"


class Where(Enum):
    """In which areas: by the words of `lamina.core.inspect.areas.AreaFilter`, and the one the cursor is in."""

    EVERYWHERE = "everywhere"
    HEAP = "heap"
    STACK = "stack"
    ANON = "anon"
    FILE = "file"
    SHARED = "shared"
    HERE = "this area"


@dataclass(frozen=True)
class Asked:
    """What is searched for, how it is meant, and where; *place* is an address in the area that `Where.HERE` means."""

    typed: str
    how: How = How.TEXT
    where: Where = Where.EVERYWHERE
    place: int = 0

    def __str__(self) -> str:
        return f"{self.how.value}: {self.typed}" + ("" if self.where is Where.EVERYWHERE else f" in {self.where.value}")


@dataclass(frozen=True)
class HitRow:
    """One hit: where, how long, in which area and where that begins, and what is there."""

    address: int
    size: int
    area: str
    area_start: int
    shown: str


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes:
        source: whose memory.
        asked: what is searched for.
        hits: ascending, at most `MOST_HITS`.
        complete: everything was searched.
        elapsed_us: µs it took.
    """

    source: MemorySource
    asked: Asked
    hits: tuple[HitRow, ...] = ()
    complete: bool = True
    elapsed_us: int = 0


def search(memory: "Memory", source: MemorySource, asked: Asked, listener: "Callable[[Progress], object]", cancel: "CancelToken") -> Search:
    """Search *memory* for what is *asked*.

    Raises:
        LaminaError: the pattern is wrong, or something cannot be read. Cancelled: *cancel* was used.
    """
    from lamina.core.events import Progress
    from lamina.core.inspect.search import search as search_memory

    def told(event: "Event") -> None:
        if isinstance(event, Progress):
            listener(event)

    found = search_memory([memory], _pattern(asked), _areas(memory, asked), limit=MOST_HITS, listener=told, cancel=cancel)
    rows = tuple(
        HitRow(hit.address, hit.size, area_name(hit.area), hit.area.start, _shown(hit.data[hit.address - hit.start :]))
        for hit in found.hits
    )
    return Search(source, asked, rows, found.complete, found.elapsed_us)


def _pattern(asked: Asked) -> "Pattern":
    from lamina.core.inspect import patterns

    if asked.how is How.REGEX:
        return patterns.regex_pattern(asked.typed)
    if asked.how is How.HEX:
        return patterns.hex_pattern(asked.typed)
    if asked.how in (How.INT64, How.INT32):
        return patterns.int_pattern(asked.typed, 8 if asked.how is How.INT64 else 4)
    if asked.how is How.FLOAT:
        return patterns.float_pattern(asked.typed)
    return patterns.text_pattern(asked.typed)


def _areas(memory: "Memory", asked: Asked) -> "AreaFilter":
    from lamina.core.inspect.areas import AreaFilter

    if asked.where is Where.EVERYWHERE:
        return AreaFilter()
    if asked.where is not Where.HERE:
        return AreaFilter((asked.where.value,))
    area = memory.area_at(asked.place)
    return AreaFilter(ranges=((area.start, area.end),)) if area is not None else AreaFilter()


def _shown(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
