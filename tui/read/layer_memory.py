"""The memory of one task as of a layer: which layer of its chain owns each page. Called in worker threads."""

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import LaminaError
from lamina.tui.model.address_space import AddressSpace, by_age, shown_areas
from lamina.tui.model.cellmap import Paint
from lamina.tui.model.layers import LayerRow

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.areas import MemoryArea
    from lamina.tui.read.stack_reader import StackReader

# How many are kept. Each is the page runs of one task, some tens of bytes per run.
_KEPT = 16


@dataclass(frozen=True)
class LayerMemory:
    """The memory as of one layer.

    Attributes:
        layer: its directory or archive; name: what it is called.
        pid: the task; pids: all tasks of the layer that have memory.
        space: its areas, and its pages by age, those that are lost on top.
        own_pages, inherited_pages: of this task.
    """

    layer: Path
    name: str
    pid: int
    pids: tuple[int, ...]
    space: AddressSpace
    own_pages: int
    inherited_pages: int


class LayerMemories:
    """Reads the memory of layers, and keeps the last few, so that a cursor that goes back and forth, or a replay, need not wait."""

    def __init__(self, stacks: "StackReader") -> None:
        """*stacks* has the layers, with maps that it has already decoded."""
        self._stacks = stacks
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int, int], LayerMemory] = OrderedDict()

    def known(self, row: LayerRow, pid: int) -> LayerMemory | None:
        """The memory of task *pid* as of *row*, if it was read and no file of the layer has changed since. Reads nothing."""
        with self._lock:
            return self._kept.get((row.path, row.stamp, pid))

    def read(self, row: LayerRow, pid: int) -> LayerMemory:
        """The memory of task *pid* (of the first that has any if the layer has no such task) as of *row*; called in worker threads.

        Raises:
            LaminaError: the layer or one it inherits from is damaged.
        """
        found = self.known(row, pid) or read_layer_memory(self._stacks.layer(row.path), row.name, pid)
        with self._lock:
            self._kept[row.path, row.stamp, pid] = found
            self._kept.move_to_end((row.path, row.stamp, pid))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def read_ahead(self, row: LayerRow, pid: int) -> None:
        """Read and keep the memory before it is asked for. If it cannot be read, that is said when it is asked for."""
        with suppress(LaminaError, OSError):
            self.read(row, pid)


def read_layer_memory(layer: "Layer", name: str, pid: int) -> LayerMemory:
    """The memory of task *pid*, or of the first that has any, as of *layer*, which is called *name*.

    Raises:
        LaminaError: the layer or one it inherits from is damaged.
    """
    from lamina.core.image.owners import resolve

    path, chain = layer.path, layer.chain()
    pids = tuple(one for one in layer.pids if one in layer.objects)
    pid = pid if pid in pids else pids[0] if pids else 0
    if not pid:
        return LayerMemory(path, name, 0, (), AddressSpace(), 0, 0)
    found = resolve(chain, pid)
    by_key = {share.layer.key: share.runs for share in found.shares}
    paints = by_age([by_key.get(above.key, PageRuns.empty()) for above in chain])
    missing = found.nowhere
    for _, runs in found.missing:
        missing |= runs
    gone = [Paint("!", found.punched), Paint("?", missing)]
    areas = shown_areas(_areas(layer, pid, found.runs | missing), found.runs | missing, only_with_data=True)
    own = by_key.get(layer.key, PageRuns.empty()).pages
    return LayerMemory(path, name, pid, pids, AddressSpace(areas, (*paints, *gone)), own, found.runs.pages - own)


def _areas(layer: "Layer", pid: int, pages: PageRuns) -> "list[MemoryArea]":
    from lamina.core.inspect.areas import MemoryArea, area_of_entry
    from lamina.core.inspect.image_areas import ImageFiles, entries_of

    if not layer.has(f"mm-{pid}.img"):  # a pre-dump has pages but no areas
        return [MemoryArea(start, end, prot=1) for start, end in pages]
    files = ImageFiles(layer, pid)
    return [area_of_entry(entry, files.path(entry)) for entry in entries_of(layer, pid)]
