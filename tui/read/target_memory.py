"""The memory of the running target for the map, and what a dump would write now. Called in worker threads; protects no pages."""

import threading
import time
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import PAGE, Area, read_maps
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.tui.model.address_space import AddressSpace, by_age, shown_areas
from lamina.tui.model.cellmap import Paint
from lamina.tui.model.target import Target
from lamina.tui.read.target_parts import thread_stacks

if TYPE_CHECKING:
    from lamina.core.dirty.scan import Scanner
    from lamina.core.dirty.tracker import Report
    from lamina.core.image.layer import Layer


@dataclass(frozen=True)
class TargetMemory:
    """The target's memory at one moment.

    Attributes:
        identity: whose.
        space: its areas and pages.
        resident_pages: pages with data.
        dirty_pages: how many of these were written since its last layer; 0 if it is not tracked.
        dump_pages: what a dump now would write.
        inherited_pages: what it would leave to its parent.
        parent: the layer that a dump would build on, or None for a full one.
        parent_time: when that was made, seconds since 1970.
        freeze_us: how long the dump of that layer froze the target, µs; 0 if there is none.
        took: how long reading it took, s.
    """

    identity: Identity
    space: AddressSpace
    resident_pages: int
    dirty_pages: int
    dump_pages: int
    inherited_pages: int
    parent: Path | None = None
    parent_time: float = 0.0
    freeze_us: int = 0
    took: float = 0.0

    @property
    def dump_bytes(self) -> int:
        """Bytes of pages a dump now would write."""
        return self.dump_pages * PAGE


class TargetMemoryReader:
    """Reads one process again and again; keeps its page map open, and what its layers own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._identity: Identity | None = None
        self._layer: tuple[Path, Layer, tuple[PageRuns, ...]] | None = None
        self._stacks: dict[int, int] = {}

    def read(self, target: Target) -> TargetMemory:
        """Read *target*.

        Raises:
            LaminaError: it is gone, or may not be read.
        """
        with self._lock:
            began = time.monotonic()
            areas = read_maps(target.pid)
            report = self._scan(target.identity, areas)
            layer, owned = self._owned(target)
            # The stack pointer of a thread that runs just now is not known; its stack is where it was.
            self._stacks = {tid: stack or self._stacks.get(tid, 0) for tid, stack in thread_stacks(target.pid).items()}
            view = _view(target, _named(areas, self._stacks), report, layer, owned)
            return replace(view, took=time.monotonic() - began)

    def _scan(self, identity: Identity, areas: list[Area]) -> "Report":
        from lamina.core.dirty.scan import Scanner

        if self._scanner is None or self._identity != identity:
            self.close()
            self._scanner, self._identity = Scanner(identity), identity
            self._stacks = {}
        return self._scanner.scan(areas, protect=False, live=True)

    def _owned(self, target: Target) -> "tuple[Layer | None, tuple[PageRuns, ...]]":
        """Its last layer, and what each layer of the chain owns."""
        from lamina.core.image.layer import Layer
        from lamina.core.image.owners import resolve

        if target.layer is None:
            return None, ()
        if self._layer is None or self._layer[0] != target.layer:
            layer = Layer(target.layer)
            try:
                chain = layer.chain()
                owned = {share.layer.key: share.runs for share in resolve(chain, target.pid).shares}
            except ImageError:
                return None, ()  # which the stack screen reports
            self._layer = (target.layer, layer, tuple(owned.get(above.key, PageRuns.empty()) for above in chain))
        return self._layer[1], self._layer[2]

    def close(self) -> None:
        """Let go of the page map."""
        if self._scanner is not None:
            self._scanner.close()
            self._scanner = None


def _named(areas: list[Area], stacks: dict[int, int]) -> list[Area]:
    """The areas; unnamed ones that hold the stack of a thread are named after the thread."""
    named = list(areas)
    starts = [area.start for area in areas]
    for tid, stack in stacks.items():
        at = bisect_right(starts, stack) - 1
        if at >= 0 and stack < areas[at].end and not areas[at].path:
            named[at] = replace(areas[at], path=f"stack {tid}")
    return named


def _view(target: Target, areas: list[Area], report: "Report", layer: "Layer | None", owned: tuple[PageRuns, ...]) -> TargetMemory:
    from lamina.core.image.summary import summary_of
    from lamina.core.inspect.areas import area_of_maps

    known = PageRuns.empty()
    for runs in owned:
        known |= runs
    shared = PageRuns.of((area.start, area.end) for area in areas if area.shared)
    tracked = bool(target.tracker) and layer is not None
    changed = report.changed if tracked else PageRuns.empty()
    if tracked:
        # If a page is in memory and was not written, its content is that of the layer that owns it.
        paints = [*by_age([runs & report.data for runs in owned]), Paint("≈", shared)]
        paints += [Paint("+", changed - known), Paint("*", changed & known), Paint("╱", report.untracked)]
    else:
        paints = [Paint("╱", report.data), Paint("≈", shared & report.data)]
    summary = summary_of(layer) if layer else None
    dump = (changed | (report.data - known)) if tracked else report.data
    return TargetMemory(
        target.identity,
        AddressSpace(shown_areas([area_of_maps(area) for area in areas], report.data), tuple(paints)),
        report.data.pages, changed.pages, dump.pages, (report.data - dump).pages,
        target.layer if layer else None, summary.time if summary else 0.0, summary.freeze_us if summary else 0,
    )  # fmt: skip
