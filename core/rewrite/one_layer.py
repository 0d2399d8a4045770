"""Rewrites one layer with the same memory: it owns other pages than before and inherits others, perhaps from another parent.

Squash, drop and prune give a layer the pages that it inherited from layers that go; lossless dedup takes out pages that its parent has too.
The new layer is built beside the old one, compared with it, and replaces it in one step, so one of the two is complete at any moment.
The pages that the map covers stay the same, so children are not affected; the layer keeps its id, because its memory is the same.
"""

import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, Progress, ignore
from lamina.core.image import owners
from lamina.core.image.draft import MARGIN
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import RECEIVED_NAME, Sidecar
from lamina.core.image.sums import FileSum, blocks_of, sum_blocks, sum_bytes, sum_file
from lamina.core.rewrite.compare import require_same
from lamina.core.rewrite.copying import Pieces, copy_piece, shares_blocks, without_holes
from lamina.core.rewrite.layout import Memory, data_bytes, descriptor_of, lay_out
from lamina.core.rewrite.new_directory import NewDirectory


def rewrite(
    layer: Layer,
    parent: Layer | None,
    own: Mapping[Object, PageRuns],
    listen: Listener = ignore,
    cancel: CancelToken | None = None,
    squashed: Sequence[str] = (),
) -> Layer:
    """Rewrite *layer* as a child of *parent* that owns exactly `own[which]` of each task or shared object; returns it, reopened.

    All its other pages are inherited from *parent*, whose map must cover them. Objects that *own* does not name keep what they own. The
    sidecar remembers the ids of the layers *squashed* into it. The caller holds the writer's lock of the stack.

    Raises:
        ImageError: it is not a plain directory, pages to copy were punched or do not match their checksums, *parent* does not have what it
            would inherit, there is not enough space, or the result is not the same memory; nothing was changed.
        BusyError: another process rewrites it.
        Cancelled: *cancel* asked for it; nothing was changed.
    """
    changed = lay_out(layer, own)
    _require_space(layer, changed)
    work = _Work(layer, changed, listen, cancel or CancelToken())
    with NewDirectory(layer.directory) as new:
        try:
            work.build(new, parent, squashed)
            require_same(layer, Layer(new.path), {it.which for it in changed}, work.cancel)
            work.cancel.check(work.what)
            new.exchange()
        except OSError as error:
            raise cannot_write(layer.directory, error.errno or 0) from error
    return Layer(layer.path)


def _require_space(layer: Layer, changed: list[Memory]) -> None:
    """Refuse to start without enough free space. A file system that shares blocks needs none."""
    need = data_bytes(changed) + MARGIN
    info = os.statvfs(layer.directory)
    free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
    if info.f_flag & os.ST_RDONLY:
        raise ImageError("cannot rewrite", f"layer {layer.path}", "read-only file system")
    if not info.f_blocks or free >= need:
        return
    for share, _ in (source for memory in changed for source in memory.sources):
        with share.open() as content:
            if shares_blocks(layer.directory, descriptor_of(content)):
                return
    why = f"no space left on device: {need >> 20} MiB needed, {free >> 20} MiB free"
    raise ImageError("cannot rewrite", f"layer {layer.path}", why, "free some space")


class _Work:
    """One rewrite."""

    def __init__(self, layer: Layer, changed: list[Memory], listen: Listener, cancel: CancelToken) -> None:
        self.layer = layer
        self.changed = changed
        self.cancel = cancel
        self.what = f"rewriting layer {layer.name}"
        self._listen = listen
        self._total = sum(it.pagemap.present.pages for it in changed)
        self._done = 0
        self._told = 0.0

    def build(self, new: NewDirectory, parent: Layer | None, squashed: Sequence[str]) -> None:
        """Everything of the new layer, fsynced."""
        sidecar = self.layer.sidecar or Sidecar.for_foreign(self.layer.directory)
        replaced = {"parent", SIDECAR, RECEIVED_NAME}  # the sidecar has what the last one says
        for memory in self.changed:
            replaced |= {f"pagemap-{memory.which}.img", self.layer.pages_name(memory.which)}
        new.carry_over(without=replaced)
        sums, punched = dict(sidecar.checksums), dict(sidecar.punched)
        for memory in self.changed:
            name = self.layer.pages_name(memory.which)
            ranges = owners.to_offsets(memory.pagemap.present, memory.punched)
            punched.pop(name, None)
            if ranges:
                punched[name] = ranges
            sums[name] = self._pages(new, name, memory, ranges)
            sums[f"pagemap-{memory.which}.img"] = self._write(new, f"pagemap-{memory.which}.img", memory.pagemap.encode())
        if parent is not None:
            (new.path / "parent").symlink_to(self._link(parent))
        above = parent.sidecar if parent is not None else None
        by = (sidecar.punched_by or ("another tool",)) if punched else ()
        sidecar = replace(
            sidecar, parent_id=above.layer_id if above else None, checksums=sums, punched=punched, punched_by=by,
            squashed=tuple(dict.fromkeys((*sidecar.squashed, *squashed))),
        )  # fmt: skip
        self._write(new, SIDECAR, sidecar.to_json().encode("ascii"))

    def _link(self, parent: Layer) -> str:
        before, above = self.layer.parent_link, self.layer.parent()
        if before is not None and above is not None and above.key == parent.key:
            return before
        return os.path.relpath(parent.directory, self.layer.directory)

    def _write(self, new: NewDirectory, name: str, data: bytes) -> FileSum:
        with os.fdopen(new.create(name, self._like(name)), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return sum_bytes(data)

    def _like(self, name: str) -> os.stat_result | None:
        """Whose owner and mode a new file takes: those of the one it replaces, or the inventory's."""
        for known in (name, "inventory.img"):
            try:
                info = os.lstat(self.layer.file(known))
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                return info
        return None

    def _pages(self, new: NewDirectory, name: str, memory: Memory, punched: PageRuns) -> FileSum:
        """The pages file: every stretch from where it lies, holes left as holes."""
        fd = new.create(name, self._like(name))
        try:
            os.ftruncate(fd, memory.pagemap.present.bytes)
            for share, pages in memory.sources:
                self._copy(share, memory, pages, fd)
            os.fsync(fd)
            return sum_file(fd, punched)
        finally:
            os.close(fd)

    def _copy(self, share: owners.Share, memory: Memory, pages: PageRuns, fd: int) -> None:
        source, target = share.layer.pagemap(memory.which).present, memory.pagemap.present
        with share.open() as content:
            source_fd = descriptor_of(content)
            _require_unchanged(share, source_fd, owners.to_offsets(source, pages))
            full = without_holes(source_fd, source, pages)
            self._tell(pages.pages - full.pages)
            for start, there, size in Pieces.of(full, source, target):
                self.cancel.check(self.what)
                copy_piece(source_fd, fd, start, there, size)
                self._tell(size // PAGE)

    def _tell(self, pages: int) -> None:
        self._done += pages
        now = time.monotonic()
        if self._done < self._total and now - self._told < 0.02:
            return
        self._told = now
        self._listen(Progress(f"copy into {self.layer.name}", self._done, self._total, self._done * PAGE))


def _require_unchanged(share: owners.Share, fd: int, ranges: PageRuns) -> None:
    """Verify the blocks that are copied: the copy gets new checksums, which must not hide damage."""
    sidecar = share.layer.sidecar
    name = share.pages_file.name
    expected = sidecar.checksums.get(name) if sidecar else None
    if sidecar is None or expected is None:
        return
    for index, digest in sum_blocks(fd, expected.size, blocks_of(ranges), sidecar.punched.get(name, PageRuns.empty())).items():
        if digest != expected.blocks[index]:
            why = f"its content changed since it was written (checksum of MiB {index})"
            raise ImageError("cannot rewrite", str(share.layer.file(name)), why, f"lamina verify {share.layer.path}")
