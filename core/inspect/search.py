"""Finds patterns in memory, also across the borders of pages, runs and owners.

Pages with known content are searched (`Memory.known`). Memory that was never written is zero and may be terabytes; it is searched only as
far as a hit can reach into it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.events import CancelToken, Listener, Progress, ignore
from lamina.core.ffi import C, ffi
from lamina.core.inspect.areas import AreaFilter, MemoryArea
from lamina.core.inspect.memory_reader import WINDOW, Memory
from lamina.core.inspect.patterns import Pattern
from lamina.core.inspect.sources import Owner

CONTEXT: Final = 16
"""Bytes shown before and behind a hit."""
_BEHIND: Final = 64
"""Bytes a regular expression may look back over the border of a window."""
_HITS_AT_ONCE: Final = 4096
_EVENT_S: Final = 0.05


@dataclass(frozen=True)
class Hit:
    """One place where a pattern was found.

    Attributes:
        pid: the task.
        address, size: where, bytes.
        area: the mapping; owner: who has its first byte.
        start: the address of `data`, which begins up to `CONTEXT` bytes before the hit and ends as many behind it.
        data: what is there, at most `size` + 2 * `CONTEXT` bytes.
    """

    pid: int
    address: int
    size: int
    area: MemoryArea
    owner: Owner
    start: int
    data: bytes


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        hits: in order of tasks and addresses.
        count: how many there are; the hits beyond a limit are counted only if the search went on.
        complete: everything was searched.
        searched: bytes looked at.
        elapsed_us: µs it took.
    """

    hits: tuple[Hit, ...]
    count: int
    complete: bool
    searched: int
    elapsed_us: int


def runs_to_search(memory: Memory, pattern: Pattern, chosen: PageRuns) -> PageRuns:
    """The pages of *chosen* to search: those that are known, and those that a hit can reach from there."""
    known = memory.known & chosen
    reach = np.uint64(-(-pattern.reach // PAGE) * PAGE)
    low = np.where(known.starts > reach, known.starts - reach, np.uint64(0))
    return PageRuns.from_arrays(low, known.ends + reach) & memory.readable & chosen


def find(memory: Memory, pattern: Pattern, runs: PageRuns, window: int = WINDOW) -> Iterator[tuple[int, int, int]]:
    """(address, size, bytes searched so far) of every hit in *runs*; hits do not overlap. Between hits, (-1, 0, searched) at times.

    Raises:
        LaminaError: something cannot be read.
    """
    overlap = pattern.reach + _BEHIND if pattern.regex is not None else pattern.reach - 1
    searched = free = 0
    for address, view, kept, last in memory.windows(runs, max(window, overlap), overlap):
        if not kept:
            free = address
        for at, size in (
            _in_regex(pattern, view, free - address, last) if pattern.regex else _in_bytes(pattern, view, free - address, address)
        ):
            free = address + at + size
            yield address + at, size, searched
        searched += len(view) - kept
        yield -1, 0, searched


def _in_bytes(pattern: Pattern, view: memoryview, begin: int, address: int) -> Iterator[tuple[int, int]]:
    hay = ffi.from_buffer("uint8_t[]", view)
    found = ffi.new("uint64_t[]", _HITS_AT_ONCE)
    size, begin = len(pattern.data), max(0, begin)
    while True:
        count = C.lm_search_find(
            hay, len(view), begin, pattern.data, pattern.mask, size, pattern.align, address % pattern.align, found, _HITS_AT_ONCE
        )
        for at in ffi.unpack(found, count):
            yield at, size
        if count < _HITS_AT_ONCE:
            return
        begin = found[count - 1] + size


def _in_regex(pattern: Pattern, view: memoryview, begin: int, last: bool) -> Iterator[tuple[int, int]]:
    assert pattern.regex is not None
    # A match that begins near the end may go on in the next window, which begins before it.
    limit = len(view) if last else len(view) - pattern.reach
    for match in pattern.regex.finditer(view, max(0, begin)):
        start, end = match.span()
        if start >= limit:
            return
        if end > start:
            yield start, end - start


def search(
    memories: Sequence[Memory],
    pattern: Pattern,
    chosen: AreaFilter | None = None,
    limit: int = 0,
    count_only: bool = False,
    listener: Listener = ignore,
    cancel: CancelToken | None = None,
) -> Found:
    """Look for *pattern* in the memory of some tasks. After *limit* hits (0: no limit) the search ends; with *count_only* none are kept.

    Raises:
        LaminaError: something cannot be read. Cancelled: *cancel* was used.
    """
    began = time.monotonic()
    chosen = chosen or AreaFilter()
    parts = [(memory, runs_to_search(memory, pattern, chosen.runs(memory.areas))) for memory in memories]
    total = sum(runs.bytes for _, runs in parts)
    hits: list[Hit] = []
    before = count = 0
    last_event = 0.0

    def took_us() -> int:
        return int((time.monotonic() - began) * 1e6)

    for memory, runs in parts:
        for address, size, searched in find(memory, pattern, runs):
            if address < 0:
                if cancel is not None:
                    cancel.check("search")
                now = time.monotonic()
                if now - last_event > _EVENT_S:
                    last_event = now
                    listener(Progress("search", (before + searched) // PAGE, total // PAGE, before + searched, took_us()))
            elif chosen.holds(address, address + size):
                count += 1
                if not count_only:
                    hits.append(hit_at(memory, address, size))
                    if limit and len(hits) == limit:
                        return Found(tuple(hits), count, False, before + searched, took_us())
        before += runs.bytes
    listener(Progress("search", total // PAGE, total // PAGE, total, took_us()))
    return Found(tuple(hits), count, True, total, took_us())


def hit_at(memory: Memory, address: int, size: int) -> Hit:
    """The hit with its surroundings, as far as they are in the same area."""
    area = memory.area_at(address) or MemoryArea(address, address + size)
    start, end = max(area.start, address - CONTEXT), address + size + CONTEXT
    data = memory.window(start, min(end, max(area.end, address + size)) - start).data
    return Hit(memory.pid, address, size, area, memory.owner(address), start, data)


def hits_of(found: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """(address, size) of the hits that `find` yields."""
    return ((address, size) for address, size, _ in found if address >= 0)
