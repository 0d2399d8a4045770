"""What a rewritten layer will hold: which pages, copied from where, and at what cost. Reads maps only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.format import PageFlag
from lamina.core.image.layer import Layer, Object
from lamina.core.image.pagemap import PageMap
from lamina.core.image.storage.content import Content
from lamina.core.rewrite.copying import without_holes

_NONE = PageRuns.empty()


@dataclass(frozen=True)
class Memory:
    """What becomes of one task or shared object.

    Attributes:
        which: the task or object.
        owned: who owns its pages now.
        pagemap: the map it will have.
        punched: pages that stay the layer's own although their content was punched.
    """

    which: Object
    owned: owners.OwnerMap
    pagemap: PageMap
    punched: PageRuns

    @property
    def sources(self) -> list[tuple[owners.Share, PageRuns]]:
        """(layer that has them, pages to copy), punched ones left out."""
        found = [(share, (self.pagemap.present & share.runs) - share.punched) for share in self.owned.shares]
        return [(share, pages) for share, pages in found if pages]


@dataclass(frozen=True)
class Cost:
    """What `lamina.core.rewrite.one_layer.rewrite` would cost.

    Attributes:
        copied: bytes written; until the exchange they exist beside the old layer.
        grown: bytes by which the layer takes more space afterwards; negative if it takes less.
    """

    copied: int
    grown: int


def lay_out(layer: Layer, own: Mapping[Object, PageRuns]) -> list[Memory]:
    """The tasks and shared objects of *layer* whose maps change if it owns exactly `own[which]` of each.

    Raises:
        ImageError: it is not a plain directory, or a page that it would own is in no layer, or is another's and was punched.
    """
    layer.require_writable("cannot rewrite")
    chain = layer.chain()
    found = [_memory(chain, which, own[which]) for which in layer.objects if which in own]
    return [it for it in found if not _same(it.pagemap, layer.pagemap(it.which))]


def cost_of(layer: Layer, own: Mapping[Object, PageRuns]) -> Cost:
    """What rewriting *layer* would cost. Raises as `lay_out`."""
    changed = lay_out(layer, own)
    copied = data_bytes(changed)
    before = [layer.info(layer.pages_name(it.which)) for it in changed]
    return Cost(copied, copied - sum(info.disk_bytes for info in before if info is not None))


def data_bytes(memories: Iterable[Memory]) -> int:
    """Bytes to copy, holes left out.

    Raises:
        ImageError: pages lie where they cannot be copied from.
    """
    need = 0
    for memory in memories:
        for share, pages in memory.sources:
            with share.open() as content:
                need += without_holes(descriptor_of(content), share.layer.pagemap(memory.which).present, pages).bytes
    return need


def descriptor_of(content: Content) -> int:
    """The descriptor of a plain pages file.

    Raises:
        ImageError: it is in an archive, or compressed.
    """
    if content.fd is None:
        raise ImageError(
            "cannot rewrite", "a layer", "pages that it needs are in an archive or compressed", "import, or expand, that layer"
        )
    return content.fd


def _memory(chain: tuple[Layer, ...], which: Object, own: PageRuns) -> Memory:
    layer = chain[0]
    old = layer.pagemap(which)
    owned = owners.resolve(chain, which)
    if lacking := own - owned.runs:
        raise ImageError("cannot rewrite", f"layer {layer.path}", f"{lacking.pages} pages of {which} are in no layer")
    if sum(layer.pages_name(which) == layer.pages_name(other) for other in layer.objects) > 1:
        raise ImageError("cannot rewrite", f"layer {layer.path}", f"two of its maps name {layer.pages_name(which)}")
    punched = _NONE
    for share in owned.shares:
        lost = own & share.punched
        if share.layer.key == layer.key:
            punched = lost  # was lost to this layer before, and goes on being so
        elif lost:
            sidecar = share.layer.sidecar
            by = ", ".join(sidecar.punched_by) if sidecar else ""
            raise ImageError(
                "cannot rewrite", f"layer {layer.path}",
                f"{lost.pages} pages that it would take of {share.layer.name} were punched by {by or 'another tool'}",
            )  # fmt: skip
    return Memory(which, owned, _new_map(which, old, own, owned), punched)


def _new_map(which: Object, old: PageMap, own: PageRuns, owned: owners.OwnerMap) -> PageMap:
    """The map with *own* present and the rest of what *old* names inherited, or named without data as before.

    An entry that is lazy in the layer that has its data stays lazy: it only says that CRIU may fetch the page on demand.
    """
    lazy = _NONE
    for share in owned.shares:
        lazy |= share.runs & _lazy(share.layer.pagemap(which))
    inherited = (old.present | old.parent) - own
    parts = (
        (own - lazy, PageFlag.PRESENT),
        (own & lazy, PageFlag.PRESENT | PageFlag.LAZY),
        (inherited, PageFlag.PARENT),
        (old.nowhere, PageFlag.LAZY),
    )
    starts = np.concatenate([runs.starts for runs, _ in parts])
    pages = np.concatenate([runs.sizes for runs, _ in parts]) // np.uint64(PAGE)
    flags = np.repeat(np.array([flag for _, flag in parts], dtype=np.uint32), [len(runs) for runs, _ in parts])
    order = np.argsort(starts, kind="stable")
    return PageMap(old.pages_id, starts[order], pages[order], flags[order])


def _lazy(pagemap: PageMap) -> PageRuns:
    wanted = (pagemap.flags & np.uint32(PageFlag.LAZY)) != 0
    starts = pagemap.vaddr[wanted]
    return PageRuns.from_arrays(starts, starts + pagemap.pages[wanted] * np.uint64(PAGE))


def _same(one: PageMap, other: PageMap) -> bool:
    columns = ((one.vaddr, other.vaddr), (one.pages, other.pages), (one.flags, other.flags))
    return all(np.array_equal(mine, others) for mine, others in columns)
