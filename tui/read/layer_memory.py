"""The memory of one task as of a layer: which layer of its chain owns each page. Called in worker threads."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dirty.runs import PageRuns
from lamina.tui.model.address_space import AddressSpace, by_age, shown_areas
from lamina.tui.model.cellmap import Paint

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.areas import MemoryArea
    from lamina.tui.read.kept_layers import KeptLayers


@dataclass(frozen=True)
class LayerMemory:
    """The memory as of one layer.

    Attributes:
        layer: its directory or archive; name: what it is called.
        pid: the task; pids: all tasks of the layer that have memory.
        space: its areas and pages by age, those that are gone on top.
        own_pages, inherited_pages: of this task.
    """

    layer: Path
    name: str
    pid: int
    pids: tuple[int, ...]
    space: AddressSpace
    own_pages: int
    inherited_pages: int


class LayerMemoryReader:
    """Reads the memory of layers; keeps what it decoded of those that do not change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: KeptLayers | None = None

    def read(self, path: Path, pid: int = 0) -> LayerMemory:
        """The memory of task *pid* (0: the first one that has any) as of the layer at *path*.

        Raises:
            LaminaError: the layer or one it inherits from is damaged.
        """
        from lamina.tui.read.kept_layers import KeptLayers

        with self._lock:
            self._kept = self._kept or KeptLayers()
            return _read(path, self._kept.open(path), pid)


def _read(path: Path, layer: "Layer", pid: int) -> LayerMemory:
    from lamina.core.image.owners import resolve

    chain = layer.chain()
    pids = tuple(one for one in layer.pids if one in layer.objects)
    pid = pid if pid in pids else pids[0] if pids else 0
    if not pid:
        return LayerMemory(path, layer.name, 0, (), AddressSpace(), 0, 0)
    found = resolve(chain, pid)
    by_key = {share.layer.key: share.runs for share in found.shares}
    paints = by_age([by_key.get(above.key, PageRuns.empty()) for above in chain])
    missing = found.nowhere
    for _, runs in found.missing:
        missing |= runs
    gone = [Paint("!", found.punched), Paint("?", missing)]
    areas = shown_areas(_areas(layer, pid, found.runs | missing), found.runs | missing, only_with_data=True)
    own = by_key.get(layer.key, PageRuns.empty()).pages
    return LayerMemory(path, layer.name, pid, pids, AddressSpace(areas, (*paints, *gone)), own, found.runs.pages - own)


def _areas(layer: "Layer", pid: int, pages: PageRuns) -> "list[MemoryArea]":
    from lamina.core.inspect.areas import MemoryArea, area_of_entry
    from lamina.core.inspect.image_areas import ImageFiles, entries_of

    if not layer.has(f"mm-{pid}.img"):  # a pre-dump knows pages and no areas
        return [MemoryArea(start, end, prot=1) for start, end in pages]
    files = ImageFiles(layer, pid)
    return [area_of_entry(entry, files.path(entry)) for entry in entries_of(layer, pid)]
