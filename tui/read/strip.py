"""Resolves the memory of a layer to the layers that own it, in as many cells as the screen has; called in worker threads.

The areas of one kind are laid end to end, those that hold no page of any layer left out, and cut into cells of equally many pages.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.tui.read.stack import LayerRow
from lamina.tui.widgets.memory_strip import StripLine, StripView

if TYPE_CHECKING:
    from lamina.core.dirty.runs import PageRuns
    from lamina.core.image.layer import Layer
    from lamina.core.image.schema import vma_entry

# This layer, its parent, the parent's parent, all before.
_AGES = "█▓▒░"
_ORDER = ("program", "heap", "anon", "stack", "libs", "shared", "memory")
_PAGE = 4096


@dataclass
class _Group:
    """Areas of one kind, end to end; `pieces` are (first page in the group, that area's start, pages owned by age)."""

    size: int = 0
    pages: int = 0
    pieces: list[tuple[int, int, "list[PageRuns]"]] = field(default_factory=list)

    def add(self, start: int, end: int, owned: "Sequence[PageRuns]") -> None:
        self.size += end - start
        inside = [runs.clip(start, end) for runs in owned]
        if any(inside):
            self.pieces.append((self.pages, start, inside))
            self.pages += (end - start) // _PAGE

    def cells(self, count: int) -> str:
        """Its glyphs, one for a page if there are few pages, else *count* of them."""
        import numpy as np  # not needed for the first screen, and slow to import

        count = min(count, self.pages)
        glyphs = np.full(count, ".")
        for age in range(len(_AGES) - 1, -1, -1):
            edges = np.zeros(count + 1, dtype=np.int64)
            for base, start, owned in self.pieces:
                if owned[age]:
                    first = base + (owned[age].starts.astype(np.int64) - start) // _PAGE
                    last = base + (owned[age].ends.astype(np.int64) - start) // _PAGE - 1
                    np.add.at(edges, first * count // self.pages, 1)
                    np.add.at(edges, last * count // self.pages + 1, -1)
            glyphs[np.cumsum(edges[:-1]) > 0] = _AGES[age]
        return "".join(glyphs)


def read_strip(row: LayerRow, cells: int) -> StripView:
    """The memory as of *row*, all tasks of its tree together, in at most *cells* cells a line.

    Raises:
        LaminaError: the layer or one it inherits from is damaged.
    """
    from lamina.core.image.layer import Layer
    from lamina.core.image.owners import resolve

    layer = Layer(row.path)
    chain = layer.chain()
    depth = {above.key: at for at, above in enumerate(chain)}
    groups: dict[str, _Group] = defaultdict(_Group)
    for pid in layer.pids:
        if pid not in layer.objects:
            continue  # a zombie has no memory
        owned: dict[int, PageRuns] = {depth[share.layer.key]: share.runs for share in resolve(chain, pid).shares}
        by_age = _by_age(owned)
        for start, end, name in _areas(layer, pid, by_age):
            groups[name].add(start, end, by_age)
    lines = [StripLine(name, groups[name].size, groups[name].cells(cells)) for name in _ORDER if name in groups and groups[name].pages]
    return StripView(row.name, tuple(lines))


def _by_age(owned: "dict[int, PageRuns]") -> "list[PageRuns]":
    from lamina.core.dirty.runs import PageRuns

    ages = [PageRuns.empty() for _ in _AGES]
    for depth, runs in owned.items():
        at = min(depth, len(_AGES) - 1)
        ages[at] = ages[at] | runs
    return ages


def _areas(layer: "Layer", pid: int, owned: "Sequence[PageRuns]") -> list[tuple[int, int, str]]:
    if layer.has(f"mm-{pid}.img"):
        memory = layer.mm(pid)
        return [(vma.start, vma.end, _kind(vma, memory.exe_file_id)) for vma in memory.vmas]
    # A pre-dump knows pages and no areas.
    return [(int(start), int(end), "memory") for runs in owned for start, end in runs]


def _kind(vma: "vma_entry", program: int) -> str:
    from lamina.core.image.format import VmaStatus as Is

    if vma.status & Is.STACK:
        return "stack"
    if vma.status & Is.HEAP:
        return "heap"
    if vma.status & (Is.FILE_SHARED | Is.ANON_SHARED):
        return "shared"
    if vma.status & Is.FILE_PRIVATE:
        return "program" if vma.shmid == program else "libs"
    return "anon"
