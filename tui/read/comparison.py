"""Compares two layers, or a layer and the running program, and reads single pages of both sides. Called in worker threads."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import LaminaError, printable
from lamina.core.events import CancelToken, Progress
from lamina.tui.model.address_space import AddressSpace, shown_areas
from lamina.tui.model.both_pages import BothPages, SidePage
from lamina.tui.model.cellmap import MapArea, Paint
from lamina.tui.model.compared import Compared
from lamina.tui.model.difference import ADDED, CHANGED, GONE, LOST, MAYBE, SAME, DiffArea, DiffMemory, DiffView, News

if TYPE_CHECKING:
    from lamina.core.inspect.diff.difference import AreaPages, Difference, MemoryDiff
    from lamina.core.inspect.diff.pages import SidePages
    from lamina.core.inspect.diff.sides import Side
    from lamina.core.inspect.memory_reader import Memory

_EVENT_S = 0.1


class Comparison:
    """One comparison, in two steps: by page map, which reads no page, then by content. `cancel` stops the second."""

    def __init__(self, what: Compared) -> None:
        self.what = what
        self.cancel = CancelToken()
        self._lock = threading.Lock()
        self._sides: tuple[Side, Side] | None = None
        self._memories: dict[tuple[Path | None, int], Memory] = {}
        self._unread = 0

    def by_map(self) -> DiffView:
        """What the page maps say; pages that are stored in different places only may differ.

        Raises:
            LaminaError: an image is damaged, or the process has ended.
        """
        view = self._compare(contents=False)
        self._unread = view.unread
        return view

    def by_content(self, listener: Callable[[Progress], object]) -> DiffView:
        """The same with those pages read; *listener* is told how far it is. Raises as `by_map`, or Cancelled."""
        began = told = time.monotonic()
        done = 0

        def step(count: int) -> None:
            nonlocal done, told
            done += count
            now = time.monotonic()
            if now - told > _EVENT_S:
                told = now
                listener(Progress("comparing", done, self._unread, done * PAGE, int((now - began) * 1e6)))

        return self._compare(contents=True, step=step)

    def _compare(self, contents: bool, step: Callable[[int], None] | None = None) -> DiffView:
        from lamina.core.inspect.diff import diff_sides

        return _view(self.what, diff_sides(*self._opened(), contents, self.cancel, step))

    def _opened(self) -> "tuple[Side, Side]":
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.diff.layer_side import LayerSide
        from lamina.core.inspect.diff.live_side import LiveSide

        with self._lock:
            if self._sides is None:
                one = LayerSide(Layer(self.what.a))
                other = LayerSide(Layer(self.what.b), beside=one) if self.what.b is not None else LiveSide(self.what.pid)
                self._sides = (one, other)
            return self._sides

    # -- pages -----------------------------------------------------------------------------------------------------------------------

    def pages(self, memory: DiffMemory, address: int) -> BothPages:
        """The page at *address* on both sides, whoever has it there.

        Raises:
            LaminaError: an image is damaged, or the process has ended.
        """
        start = address & -PAGE
        sides = ((self.what.a, memory.which_a), (self.what.b, memory.which))
        one, other = (self._page(at, path, which, start) for at, (path, which) in enumerate(sides))
        return BothPages(memory.which, start, one, other)

    def _page(self, at: int, path: Path | None, which: int | str, start: int) -> SidePage:
        if isinstance(which, str):
            held = self._opened()[at].pages_of(which)
            return _held_page(held, start) if held is not None else SidePage(None, "not held")
        with self._lock:
            window = self._memory(path, which).window(start, PAGE)
        owners = list(dict.fromkeys(str(span.owner) for span in window.spans))
        readable = any(not span.owner.why for span in window.spans)
        return SidePage(window.data if readable else None, ", ".join(owners) or "not mapped")

    def _memory(self, path: Path | None, pid: int) -> "Memory":
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.layer_memory import open_layer_memory
        from lamina.core.inspect.live_memory import open_live_memory

        if (path, pid) not in self._memories:
            self._memories[path, pid] = open_layer_memory(Layer(path), pid) if path is not None else open_live_memory(pid)
        return self._memories[path, pid]

    def close(self) -> None:
        """Stop, and let go of all files."""
        self.cancel.cancel()
        with self._lock:
            while self._memories:
                self._memories.popitem()[1].close()


def _held_page(held: "SidePages", start: int) -> SidePage:
    page = PageRuns.of([(start, start + PAGE)])
    try:
        if not held.runs & page:
            return SidePage(None, "its content is lost" if held.lost & page else "not held")
        buffer = bytearray(PAGE)
        held.read_into(page, memoryview(buffer))
        return SidePage(bytes(buffer), "shared memory")
    except LaminaError as error:
        return SidePage(None, str(error))
    finally:
        held.close()


# -- what was found as what is shown ------------------------------------------------------------------------------------------------


def _view(what: Compared, found: "Difference") -> DiffView:
    several = sum(isinstance(it.which, int) for it in found.memory) > 1
    memories = sorted((_memory_view(it, several) for it in found.memory), key=lambda it: isinstance(it.which, str))
    unread = sum(it.pages.maybe.pages for it in found.memory)
    return DiffView(what, found.by_map, tuple(_news(found)), tuple(memories), unread)


def _news(found: "Difference") -> list[News]:
    from lamina.core.cli.difference_text import area_lines, descriptor_lines, task_lines

    own, mapped = descriptor_lines(found), area_lines(found)
    pids = {it.pid for it in found.descriptors} | {it.pid for it in found.areas}
    if len(pids) == 1:  # which process it is need not be repeated in each line
        own, mapped = ([line.replace(f"process {pid} ", "", 1) for line in lines for pid in pids] for lines in (own, mapped))
    areas = [replace(_news_line(line), pid=it.pid, address=it.start) for line, it in zip(mapped, found.areas, strict=True)]
    shared = [f"+ shared object {which}" for which in found.shared_added] + [f"- shared object {which}" for which in found.shared_gone]
    tasks = [line if line.startswith(" ") else f"{line[:2]}task {line[2:]}" for line in task_lines(found)]
    ends = [*shared, *(f"· {note}" for note in found.notes)]
    return [*(_news_line(line) for line in (*tasks, *own)), *areas, *(_news_line(line) for line in ends)]


def _news_line(line: str) -> News:
    text = line.lstrip()
    return News(text[0], " " * (len(line) - len(text)) + text[2:])


def _memory_view(it: "MemoryDiff", several: bool) -> DiffMemory:
    pages = it.pages
    every = pages.same | pages.changed | pages.maybe | pages.added | pages.gone | pages.unreadable
    kinds = ((SAME, pages.same), (LOST, pages.unreadable), (GONE, pages.gone), (ADDED, pages.added), (MAYBE, pages.maybe),
             (CHANGED, pages.changed))  # fmt: skip
    paints = tuple(Paint(glyph, runs) for glyph, runs in kinds)
    areas = [_area(it.which, row, every, several) for row in it.areas]
    differing = tuple(area for area in areas if area.differs)
    space = AddressSpace(_map_areas(it, every), paints)
    same = len(areas) - len(differing)
    return DiffMemory(it.which, it.which_a, space, differing, same, pages.changed | pages.maybe, pages.added, pages.gone, pages.unreadable)


def _area(which: int | str, row: "AreaPages", every: PageRuns, several: bool) -> DiffArea:
    counts = row.counts
    known = (counts.same, counts.changed, counts.maybe, counts.added, counts.gone, counts.unreadable)
    if row.area is None:
        start, end = int(every.starts[0]), int(every.ends[-1])
        return DiffArea(which, start, end, which if isinstance(which, str) else "in no known area", "", *known)
    area = row.area
    name = area.name.rsplit("/", 1)[-1].strip("[]") or area.kind.value
    name = printable(name)
    return DiffArea(which, area.start, area.end, f"{which} {name}" if several else name, area.perms, *known)


def _map_areas(it: "MemoryDiff", every: PageRuns) -> tuple[MapArea, ...]:
    known = [row.area for row in it.areas if row.area is not None]
    if known:
        return shown_areas(known, every, only_with_data=True)
    if not every:
        return ()
    return (MapArea(int(every.starts[0]), int(every.ends[-1]), str(it.which), "shared" if isinstance(it.which, str) else ""),)
