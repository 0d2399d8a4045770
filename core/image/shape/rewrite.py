"""A layer made anew with the same memory: other pages its own, other pages inherited, perhaps from another parent.

Squash, drop and prune give a layer what it resolved in layers that go; lossless dedup takes out what its parent has as well. The new
layer is built beside the old one, compared with it, and takes its place in one step, so at any moment one of the two is there, whole. What
the map covers does not change, so children go on as before; nor does the layer's id, for the memory is the same.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, Progress, ignore
from lamina.core.image import owners
from lamina.core.image.draft import MARGIN
from lamina.core.image.format import PageFlag
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.pagemap import PageMap
from lamina.core.image.places.place import Content
from lamina.core.image.shape.compare import require_same
from lamina.core.image.shape.copying import Pieces, copy_piece, shares_blocks, without_holes
from lamina.core.image.shape.sibling import Sibling
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.sums import FileSum, blocks_of, sum_blocks, sum_bytes, sum_file

_NONE = PageRuns.empty()


@dataclass(frozen=True)
class _Memory:
    """What becomes of one task or shared object: what is its own afterwards, and from where it comes."""

    which: Object
    owned: owners.OwnerMap
    pagemap: PageMap
    punched: PageRuns

    @property
    def sources(self) -> list[tuple[owners.Share, PageRuns]]:
        """(layer that has them, pages to copy), punched ones left out."""
        found = [(share, (self.pagemap.present & share.runs) - share.punched) for share in self.owned.shares]
        return [(share, pages) for share, pages in found if pages]


def rewrite(
    layer: Layer, parent: Layer | None, own: Mapping[Object, PageRuns], listen: Listener = ignore, cancel: CancelToken | None = None
) -> Layer:
    """Make *layer* anew on *parent*, owning exactly `own[which]` of each task or shared object; returns it, opened again.

    What it knows beside that is inherited from *parent*, whose map must cover it. Objects that *own* does not name keep what they own. The
    caller holds the writer's lock of the stack.

    Raises:
        ImageError: it is not a plain directory, pages to copy were punched or do not match their checksums, *parent* does not have what it
            would inherit, there is not enough space, or the result is not the same memory; nothing was changed.
        BusyError: another process rewrites it.
        Cancelled: *cancel* asked for it; nothing was changed.
    """
    work = _Work(layer, parent, listen, cancel or CancelToken())
    layer.require_writable("cannot rewrite")
    memories = [work.plan(which, own[which]) for which in layer.objects if which in own]
    changed = [it for it in memories if not _same_map(it.pagemap, layer.pagemap(it.which))]
    work.total = sum(it.pagemap.present.pages for it in changed)
    work.require_space(changed)
    with Sibling(layer.directory) as sibling:
        try:
            work.build(sibling, changed)
            require_same(layer, Layer(sibling.path), {it.which for it in changed}, work.cancel)
            work.cancel.check(work.what)
            sibling.exchange()
        except OSError as error:
            raise cannot_write(layer.directory, error.errno or 0) from error
    return Layer(layer.path)


def _same_map(one: PageMap, other: PageMap) -> bool:
    columns = ((one.vaddr, other.vaddr), (one.pages, other.pages), (one.flags, other.flags))
    return all(np.array_equal(mine, others) for mine, others in columns)


class _Work:
    """One rewrite."""

    def __init__(self, layer: Layer, parent: Layer | None, listen: Listener, cancel: CancelToken) -> None:
        self.layer = layer
        self.chain = layer.chain()
        self.parent = parent
        self.listen = listen
        self.cancel = cancel
        self.what = f"rewriting layer {layer.name}"
        self.total = self.done = 0

    # -- planning --------------------------------------------------------------------------------------------------------------------

    def plan(self, which: Object, own: PageRuns) -> _Memory:
        old = self.layer.pagemap(which)
        owned = owners.resolve(self.chain, which)
        if lacking := own - owned.runs:
            raise ImageError("cannot rewrite", f"layer {self.layer.path}", f"{lacking.pages} pages of {which} are in no layer")
        if sum(self.layer.pages_name(which) == self.layer.pages_name(other) for other in self.layer.objects) > 1:
            raise ImageError("cannot rewrite", f"layer {self.layer.path}", f"two of its maps name {self.layer.pages_name(which)}")
        punched = _NONE
        for share in owned.shares:
            lost = own & share.punched
            if share.layer.key == self.layer.key:
                punched = lost  # was lost to this layer before, and goes on being so
            elif lost:
                sidecar = share.layer.sidecar
                by = ", ".join(sidecar.punched_by) if sidecar else ""
                raise ImageError(
                    "cannot rewrite", f"layer {self.layer.path}",
                    f"{lost.pages} pages that it would take of {share.layer.name} were punched by {by or 'a dedup'}",
                )  # fmt: skip
        return _Memory(which, owned, _new_map(which, old, own, owned), punched)

    def require_space(self, changed: list[_Memory]) -> None:
        """Refuse what would not fit. Nothing is asked of a file system that shares blocks."""
        need = MARGIN
        first: int | None = None
        with ExitStack() as opened:
            for memory in changed:
                for share, pages in memory.sources:
                    fd = _descriptor(opened.enter_context(share.open()))
                    first = fd if first is None else first
                    need += without_holes(fd, share.layer.pagemap(memory.which).present, pages).bytes
            info = os.statvfs(self.layer.directory)
            free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
            if info.f_flag & os.ST_RDONLY:
                raise ImageError("cannot rewrite", f"layer {self.layer.path}", "read-only file system")
            if info.f_blocks and free < need and not (first is not None and shares_blocks(self.layer.directory, first)):
                why = f"no space left on device: {need >> 20} MiB needed, {free >> 20} MiB free"
                raise ImageError("cannot rewrite", f"layer {self.layer.path}", why, "free some space")

    # -- building --------------------------------------------------------------------------------------------------------------------

    def build(self, sibling: Sibling, changed: list[_Memory]) -> None:
        """Everything of the new layer, fsynced."""
        sidecar = self.layer.sidecar or Sidecar.for_foreign(self.layer.directory)
        replaced = {"parent", SIDECAR}
        for memory in changed:
            replaced |= {f"pagemap-{memory.which}.img", self.layer.pages_name(memory.which)}
        sibling.carry_over(without=replaced)
        sums, punched = dict(sidecar.checksums), dict(sidecar.punched)
        for memory in changed:
            name = self.layer.pages_name(memory.which)
            ranges = owners.to_offsets(memory.pagemap.present, memory.punched)
            punched.pop(name, None)
            if ranges:
                punched[name] = ranges
            sums[name] = self._pages(sibling, name, memory, ranges)
            sums[f"pagemap-{memory.which}.img"] = self._write(sibling, f"pagemap-{memory.which}.img", memory.pagemap.encode())
        link = self._link()
        if link is not None:
            (sibling.path / "parent").symlink_to(link)
        above = self.parent.sidecar if self.parent is not None else None
        sidecar = replace(
            sidecar, parent_id=above.layer_id if above else None, checksums=sums, punched=punched,
            punched_by=sidecar.punched_by if punched else (),
        )  # fmt: skip
        self._write(sibling, SIDECAR, sidecar.to_json().encode("ascii"))

    def _link(self) -> str | None:
        if self.parent is None:
            return None
        before = self.layer.parent_link
        if before is not None and len(self.chain) > 1 and self.chain[1].key == self.parent.key:
            return before
        return os.path.relpath(self.parent.directory, self.layer.directory)

    def _write(self, sibling: Sibling, name: str, data: bytes) -> FileSum:
        with os.fdopen(sibling.create(name, self._like(name)), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return sum_bytes(data)

    def _like(self, name: str) -> os.stat_result | None:
        """Whose owner and mode a new file takes: the one's it replaces, or the inventory's; never readable by more than that."""
        for known in (name, "inventory.img"):
            try:
                info = os.lstat(self.layer.file(known))
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                return info
        return None

    def _pages(self, sibling: Sibling, name: str, memory: _Memory, punched: PageRuns) -> FileSum:
        """The pages file: every stretch from where it lies, holes left as holes."""
        present = memory.pagemap.present
        fd = sibling.create(name, self._like(name))
        try:
            os.ftruncate(fd, present.bytes)
            for share, pages in memory.sources:
                with closing(share.open()) as content:
                    self._copy(share, memory.which, content, fd, pages, present)
            os.fsync(fd)
            return sum_file(fd, punched)
        finally:
            os.close(fd)

    def _copy(self, share: owners.Share, which: Object, content: Content, fd: int, pages: PageRuns, present: PageRuns) -> None:
        source = share.layer.pagemap(which).present
        source_fd = _descriptor(content)
        _require_unchanged(share, source_fd, owners.to_offsets(source, pages))
        full = without_holes(source_fd, source, pages)
        self._tell(pages.pages - full.pages)
        for start, target, size in Pieces.of(full, source, present):
            self.cancel.check(self.what)
            copy_piece(source_fd, fd, start, target, size)
            self._tell(size // PAGE)

    def _tell(self, pages: int) -> None:
        self.done += pages
        self.listen(Progress(f"copy into {self.layer.name}", self.done, self.total, self.done * PAGE))


def _new_map(which: Object, old: PageMap, own: PageRuns, owned: owners.OwnerMap) -> PageMap:
    """The map with *own* present and the rest of what *old* names inherited, or named without data as before.

    An entry that was lazy where its data lies stays so: it only says that CRIU may fetch the page on demand.
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


def _require_unchanged(share: owners.Share, fd: int, ranges: PageRuns) -> None:
    """The blocks that are copied, compared with their checksums: a copy gets new ones, which must not vouch for damage."""
    sidecar = share.layer.sidecar
    name = share.pages_file.name
    expected = sidecar.checksums.get(name) if sidecar else None
    if sidecar is None or expected is None:
        return
    for index, digest in sum_blocks(fd, expected.size, blocks_of(ranges), sidecar.punched.get(name, _NONE)).items():
        if digest != expected.blocks[index]:
            why = f"its content changed since it was written (checksum of MiB {index})"
            raise ImageError("cannot rewrite", str(share.layer.file(name)), why, f"lamina verify {share.layer.path}")


def _descriptor(content: Content) -> int:
    if content.fd is None:
        raise ImageError(
            "cannot rewrite", "a layer", "pages to copy are in an archive or compressed", "lamina expand, or import, them first"
        )
    return content.fd
