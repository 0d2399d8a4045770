"""Searching the memory the hex view shows. Called in worker threads."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lamina.tui.read.page_bytes import MemorySource, area_name

if TYPE_CHECKING:
    from lamina.core.events import CancelToken, Event, Progress
    from lamina.core.inspect.memory import Memory
    from lamina.core.inspect.patterns import Pattern

MOST_HITS = 10_000


class How(Enum):
    """How what was typed is meant."""

    TEXT = "text"
    REGEX = "regex"
    HEX = "hex"
    NUMBER = "number"


@dataclass(frozen=True)
class HitRow:
    """One hit: where, how long, in which area, and what is there."""

    address: int
    size: int
    area: str
    shown: str


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes:
        source: whose memory.
        typed, how: what is looked for.
        hits: ascending, at most `MOST_HITS`.
        complete: all was searched.
        elapsed_us: µs it took.
    """

    source: MemorySource
    typed: str
    how: How
    hits: tuple[HitRow, ...] = ()
    complete: bool = True
    elapsed_us: int = 0


def search(
    memory: "Memory", source: MemorySource, typed: str, how: How, listener: "Callable[[Progress], object]", cancel: "CancelToken"
) -> Search:
    """Look for *typed* in *memory*.

    Raises:
        LaminaError: it is no pattern of that kind, or something cannot be read. Cancelled: *cancel* was used.
    """
    from lamina.core.events import Progress
    from lamina.core.inspect.search import search as look

    def told(event: "Event") -> None:
        if isinstance(event, Progress):
            listener(event)

    found = look([memory], _pattern(typed, how), limit=MOST_HITS, listener=told, cancel=cancel)
    rows = tuple(HitRow(hit.address, hit.size, area_name(hit.area), _shown(hit.data[hit.address - hit.start :])) for hit in found.hits)
    return Search(source, typed, how, rows, found.complete, found.elapsed_us)


def _pattern(typed: str, how: How) -> "Pattern":
    from lamina.core.inspect import patterns

    if how is How.REGEX:
        return patterns.regex_pattern(typed)
    if how is How.HEX:
        return patterns.hex_pattern(typed)
    if how is How.NUMBER:
        return patterns.int_pattern(typed, 8)
    return patterns.text_pattern(typed)


def _shown(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
