"""The memory of one task as a layer has it, resolved through its parents (docs/image-format.md, "Pages and who owns them").

Pages that no image holds are what a restore would make of them: zero in anonymous memory, the file's own page in a mapping of a file. A
file that has changed since is never read instead, and punched pages are never read as zeros.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.image.schema import vma_entry
from lamina.core.inspect.areas import KERNEL_OWN, AreaKind, MemoryArea, area_of_entry
from lamina.core.inspect.image_areas import ImageFiles, entries_of, object_of
from lamina.core.inspect.memory_reader import Memory
from lamina.core.inspect.owned_pieces import USER_END, OwnedPieces
from lamina.core.inspect.pieces import columns_of, cut
from lamina.core.inspect.sources import FilePages, OwnerKind, ZeroPages, whole_pages

_FILES: Final = frozenset({AreaKind.FILE, AreaKind.SHARED_FILE})
_PRIVATE: Final = frozenset(AreaKind) - {AreaKind.SHARED, AreaKind.SHARED_FILE} - KERNEL_OWN


def tasks_with_memory(layer: Layer) -> tuple[int, ...]:
    """The pids whose memory *layer* has: all but zombies."""
    return tuple(pid for pid in layer.pids if pid in layer.objects)


def require_task(layer: Layer, pid: int) -> None:
    """Raise `ImageError`, naming the processes there are, unless *layer* has the memory of *pid*."""
    if pid not in layer.objects:
        held = ", ".join(str(it) for it in tasks_with_memory(layer))
        exited = not layer.is_pre_dump and pid in layer.pids
        why = "it had exited, and a zombie has no memory" if exited else f"the layer holds {held or 'no process'}"
        raise ImageError("no process", f"{pid} in layer {layer}", why)


def open_layer_memory(layer: Layer, pid: int) -> Memory:
    """The memory of task *pid* in *layer*.

    Raises:
        ImageError: no such task, or an image that it needs is missing or damaged.
    """
    require_task(layer, pid)
    return _Opening(layer, pid).memory()


class _Opening:
    """Puts a memory together: first the pages that layers hold, then everything else."""

    def __init__(self, layer: Layer, pid: int) -> None:
        self.layer, self.pid = layer, pid
        self.chain = layer.chain()
        self.pieces = OwnedPieces()

    def memory(self) -> Memory:
        owners = resolve(self.chain, self.pid)
        if self.layer.is_pre_dump:  # pages without mappings
            areas = [MemoryArea(start, end) for start, end in self.layer.pagemap(self.pid).all]
            self.pieces.own(owners, _runs_of(areas))
        else:
            entries = entries_of(self.layer, self.pid)
            files = ImageFiles(self.layer, self.pid)
            areas = [area_of_entry(entry, files.path(entry)) for entry in entries]
            self.pieces.own(owners, _runs_of(area for area in areas if area.kind in _PRIVATE or area.flags & 2))
            for entry, area in zip(entries, areas, strict=True):
                if area.kind is AreaKind.SHARED:
                    self._object(entry, area)
            self._background(entries, areas, files)
        return Memory(f"process {self.pid} of layer {self.layer}", self.pid, areas, self.pieces.table.build(), self.pieces.sources)

    def _object(self, entry: vma_entry, area: MemoryArea) -> None:
        """A mapping of shared memory: what the task itself has of it (a private copy) is covered already."""
        which = object_of(self.layer, entry)
        within = _runs_of([area])
        if which not in self.layer.objects:
            self.pieces.add(within, self.pieces.nobody(OwnerKind.MISSING, f"the layer has no pagemap-{which}.img"))
            return
        shift = area.start - area.offset
        self.pieces.own(resolve(self.chain, which), within, area.offset, area.offset + area.size, shift)

    # -- what nobody holds -----------------------------------------------------------------------------------------------------------

    def _background(self, entries: Sequence[vma_entry], areas: Sequence[MemoryArea], files: ImageFiles) -> None:
        within = _runs_of(area for area in areas if area.end <= USER_END)
        rest = within - self.pieces.covered
        zero = self.pieces.source(ZeroPages())
        kernel = self.pieces.nobody(OwnerKind.ABSENT, "the kernel makes it anew at any moment")
        parts: list[tuple[int, int, int, int]] = []
        for entry, area in zip(entries, areas, strict=True):
            if not rest.clip(area.start, area.end):
                continue
            if area.kind in _FILES:
                parts += self._file_parts(entry, area, files)
            elif area.kind in KERNEL_OWN or area.kind is AreaKind.VDSO:
                parts.append((area.start, area.end, kernel, 0))
            else:
                parts.append((area.start, area.end, zero, 0))
        begins, stops = columns_of([part[:2] for part in parts])
        starts, ends, index = cut(rest, begins, stops)
        offsets = np.array([part[3] for part in parts], dtype=np.uint64)[index] + (starts - begins[index])
        self.pieces.table.add(starts, ends, offsets, np.array([part[2] for part in parts], dtype=np.int32)[index])

    def _file_parts(self, entry: vma_entry, area: MemoryArea, files: ImageFiles) -> list[tuple[int, int, int, int]]:
        """(start, end, source, offset): the part that the file has, and the part behind its end."""
        why = files.why_not(entry)
        if why:
            return [(area.start, area.end, self.pieces.nobody(OwnerKind.ABSENT, why, area.name), 0)]
        file = FilePages(area.name)
        try:
            there = max(0, min(area.size, whole_pages(file.size) - area.offset))
        except ImageError as error:
            return [(area.start, area.end, self.pieces.nobody(OwnerKind.ABSENT, error.why, area.name), 0)]
        finally:
            file.close()
        parts = []
        if there:
            parts.append((area.start, area.start + there, self.pieces.source(file), area.offset))
        if there < area.size:
            parts.append(
                (
                    area.start + there,
                    area.end,
                    self.pieces.nobody(OwnerKind.ABSENT, "it lies behind the end of the mapped file", area.name),
                    0,
                )
            )
        return parts


def _runs_of(areas: Iterable[MemoryArea]) -> PageRuns:
    return PageRuns.of((area.start, area.end) for area in areas)
