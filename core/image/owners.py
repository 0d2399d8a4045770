"""Who owns a page: the layer whose pages file holds its content, found through direct parents only, by arrays.

CRIU's rule, kept: an inherited run must be in the map of the direct parent, as data or inherited in turn; what only a grandparent has does
not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamina.core.dirty.runs import Addresses, PageRuns
from lamina.core.image.layer import Layer, Object
from lamina.core.image.places.place import Content


def to_offsets(present: PageRuns, runs: PageRuns) -> PageRuns:
    """Where in the pages file the pages *runs* lie, as runs of file offsets; *runs* must be a part of *present*."""
    at = np.searchsorted(present.starts, runs.starts, side="right") - 1
    starts = present.offsets[at] + (runs.starts - present.starts[at])
    return PageRuns.from_arrays(starts, starts + runs.sizes)


def to_addresses(present: PageRuns, offsets: PageRuns) -> PageRuns:
    """The pages whose content lies at *offsets* of the pages file: the inverse of `to_offsets`. What lies behind the data is left out."""
    if not present or not offsets:
        return PageRuns.empty()
    begin = present.offsets
    # One run of offsets can hold many runs of pages: cut it at every border, then shift each piece.
    limit = begin[-1] + present.sizes[-1]
    inside = offsets.clip(0, int(limit))
    if not inside:
        return PageRuns.empty()
    first = np.searchsorted(begin, inside.starts, side="right") - 1
    last = np.searchsorted(begin, inside.ends, side="left")
    counts = last - first
    which = np.repeat(np.arange(len(inside)), counts)
    index = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    low = np.maximum(inside.starts[which], begin[index])
    high = np.minimum(inside.ends[which], begin[index] + present.sizes[index])
    starts = present.starts[index] + (low - begin[index])
    return PageRuns.from_arrays(starts, starts + (high - low))


def punched_in(layer: Layer, which: Object) -> PageRuns:
    """The pages of a task or object that the sidecar says were punched out of this layer's own pages file."""
    sidecar = layer.sidecar
    if sidecar is None or not sidecar.punched:
        return PageRuns.empty()
    offsets = sidecar.punched.get(layer.pages_name(which))
    return to_addresses(layer.pagemap(which).present, offsets) if offsets else PageRuns.empty()


@dataclass(frozen=True)
class Share:
    """What one layer of a chain owns of an address space.

    Attributes:
        layer: the owner.
        pages_file: its pages file; `open` reads it wherever the layer lies.
        runs: the pages it owns, as addresses.
        offsets: where each run begins in the pages file, bytes.
        punched: those of `runs` whose content dedup freed.
    """

    layer: Layer
    pages_file: Path
    runs: PageRuns
    offsets: Addresses
    punched: PageRuns

    def open(self) -> Content:
        """Its pages file, open for reading. Raises `ImageError` if it cannot be."""
        return self.layer.open(self.pages_file.name)


@dataclass(frozen=True)
class OwnerMap:
    """Every page a layer knows of one task or shared object, and who owns it.

    Attributes:
        shares: one for each layer that owns some, the layer itself first, then its ancestors.
        missing: inherited pages that the chain does not resolve, each with the layer whose map lacks them.
        nowhere: pages that a map names without data.
    """

    shares: tuple[Share, ...]
    missing: tuple[tuple[Layer, PageRuns], ...]
    nowhere: PageRuns

    @property
    def runs(self) -> PageRuns:
        """All pages that resolve, punched or not."""
        starts = np.concatenate([share.runs.starts for share in self.shares] or [PageRuns.empty().starts])
        ends = np.concatenate([share.runs.ends for share in self.shares] or [PageRuns.empty().ends])
        return PageRuns.from_arrays(starts, ends)

    @property
    def punched(self) -> PageRuns:
        """Pages that resolve to blocks that dedup freed."""
        punched = PageRuns.empty()
        for share in self.shares:
            punched |= share.punched
        return punched

    def of(self, address: int) -> tuple[Layer, int] | None:
        """The owner of the page at *address* and where it lies in its pages file, or None if no layer has it."""
        for share in self.shares:
            if address in share.runs:
                at = int(np.searchsorted(share.runs.starts, np.uint64(address), side="right")) - 1
                return share.layer, int(share.offsets[at]) + address - int(share.runs.starts[at])
        return None


def resolve(chain: Sequence[Layer], which: Object) -> OwnerMap:
    """Who owns what of *which* (a pid or "shmem-ID") in the layer `chain[0]`; *chain* is `Layer.chain()`.

    Raises:
        ImageError: a map is missing from the first layer or damaged in any.
    """
    shares: list[Share] = []
    missing: list[tuple[Layer, PageRuns]] = []
    nowhere = PageRuns.empty()
    wanted: PageRuns | None = None
    for layer in chain:
        if wanted is not None and (not wanted or which not in layer.objects):
            break
        found = layer.pagemap(which)
        owned = found.present if wanted is None else wanted & found.present
        if owned:
            at = np.searchsorted(found.present.starts, owned.starts, side="right") - 1
            offsets = found.present.offsets[at] + (owned.starts - found.present.starts[at])
            punched = owned & punched_in(layer, which)
            shares.append(Share(layer, layer.pages_path(which), owned, offsets, punched))
        nowhere |= found.nowhere if wanted is None else wanted & found.nowhere
        if wanted is not None and (lacking := wanted - found.all):
            missing.append((layer, lacking))
        wanted = found.parent if wanted is None else wanted & found.parent
        last = layer
    if wanted:
        # The chain ended, or the next layer has no map of this task at all.
        missing.append((chain[min(chain.index(last) + 1, len(chain) - 1)], wanted))
    return OwnerMap(tuple(shares), tuple(missing), nowhere)


def covered(chain: Sequence[Layer], which: Object) -> PageRuns:
    """What a child dumped on `chain[0]` may inherit of *which*: pages that resolve and were not punched."""
    if which not in chain[0].objects:
        return PageRuns.empty()
    owners = resolve(chain, which)
    return owners.runs - owners.punched
