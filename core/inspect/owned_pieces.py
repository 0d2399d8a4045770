"""The pages of an address space that the layers of a chain hold, as pieces with their sources."""

from typing import Final

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image.layer import Layer
from lamina.core.image.owners import OwnerMap, Share, to_addresses
from lamina.core.image.punched import freed_in
from lamina.core.inspect.areas import MemoryArea
from lamina.core.inspect.memory_reader import Memory
from lamina.core.inspect.pieces import PieceBuilder
from lamina.core.inspect.sources import LayerPages, NoPages, OwnerKind, Source, ZeroPages

USER_END: Final = 1 << 63


class OwnedPieces:
    """Collects pieces and their sources.

    Attributes:
        sources: by number; table: what comes from where; covered: the pages that have a source.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.table = PieceBuilder()
        self.covered = PageRuns.empty()

    def source(self, source: Source) -> int:
        """Add a source; returns its number."""
        self.sources.append(source)
        return len(self.sources) - 1

    def nobody(self, kind: OwnerKind, why: str, name: str = "") -> int:
        """Add a source without content."""
        return self.source(NoPages(kind, why, name))

    def add(self, runs: PageRuns, source: int) -> None:
        """The pages of *runs* that have no source yet come from *source*, which needs no offsets."""
        new = runs - self.covered
        self.table.add_runs(new, source)
        self.covered |= new

    def own(self, owners: OwnerMap, within: PageRuns, low: int = 0, high: int = USER_END, shift: int = 0) -> None:
        """Add the bytes [low, high) of a task or object, mapped *shift* bytes higher: the part that is *within* and not covered yet.

        Raises:
            ImageError: a pages file or sidecar cannot be looked at.
        """

        def moved(runs: PageRuns) -> PageRuns:
            part = runs.clip(low, high)
            return PageRuns.from_arrays(part.starts + delta, part.ends + delta)

        delta = np.uint64(shift % (1 << 64))
        for share in owners.shares:
            part = share.runs.clip(low, high)
            if not part:
                continue
            at = np.searchsorted(share.runs.starts, part.starts, side="right") - 1
            offsets = share.offsets[at] + (part.starts - share.runs.starts[at])
            mine = (moved(share.runs) & within) - self.covered
            gone = mine & moved(share.punched)
            pages = self.source(LayerPages(share.layer, share.pages_file.name))
            self.table.add_part((part.starts + delta, part.ends + delta, offsets), mine - gone, pages)
            if gone:
                foreign = moved(_freed_by_others(share, owners)) & gone
                self.table.add_runs(gone - foreign, self.source(_punched(share.layer)))
                self.table.add_runs(foreign, self.source(_punched(share.layer, "another tool")))
            self.covered |= mine
        for lacking, runs in owners.missing:
            why = f"layer {lacking.name} should have it and has not"
            self.add(moved(runs) & within, self.nobody(OwnerKind.MISSING, why, lacking.name))
        if owners.nowhere:
            why = "it was left to be fetched later (a lazy dump), and never came"
            self.add(moved(owners.nowhere) & within, self.nobody(OwnerKind.MISSING, why))


def read_owned(owners: OwnerMap, start: int, size: int) -> bytes:
    """The *size* bytes at *start* of a task as its layers have them; zeros where no layer has the page. For small pieces.

    Raises:
        ImageError: a page was punched or is missing, or cannot be read.
    """
    area = MemoryArea(start & -PAGE, -(-(start + size) // PAGE) * PAGE)
    within = PageRuns.of([(area.start, area.end)])
    pieces = OwnedPieces()
    pieces.own(owners, within, area.start, area.end)
    pieces.add(within, pieces.source(ZeroPages()))
    with Memory(f"{owners.which} of layer {owners.chain[0]}", 0, [area], pieces.table.build(), pieces.sources) as memory:
        return memory.read(start, size)


def _freed_by_others(share: Share, owners: OwnerMap) -> PageRuns:
    """The pages of *share* under holes that our dedup did not make."""
    foreign = freed_in(share.layer, share.pages_file.name).foreign
    return to_addresses(share.layer.pagemap(owners.which).present, foreign) if foreign else PageRuns.empty()


def _punched(layer: Layer, by: str = "") -> NoPages:
    names = ", ".join(layer.sidecar.punched_by) if layer.sidecar else ""
    return NoPages(OwnerKind.PUNCHED, f"{by or f'dedup of {names}'} freed it in layer {layer.name}", layer.name)
