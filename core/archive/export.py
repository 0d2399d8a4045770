"""`lamina export`: writes a layer and everything it needs into one archive.

The archive is a tar in zstd frames with a table, so that every page of it can be read in place; holes stay holes. It gets its
name only once all of it is on the disk.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.core.archive.entries import Checked, Entry, copy, entries_of, pieces_of
from lamina.core.archive.flat import flat_entries, flat_sidecar
from lamina.core.archive.manifest import Packed, files_at_the_top, places_for
from lamina.core.archive.progress import Work
from lamina.core.archive.tarwriter import TarWriter
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, ignore
from lamina.core.image import lock
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.renames import rename_new, sync_directory
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import RECEIVED_NAME
from lamina.core.image.storage.seekable import FrameWriter
from lamina.core.image.summary import summary_of
from lamina.core.image.sums import FileSum, sum_bytes
from lamina.core.verify import check_chain


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        output: the archive.
        layers: names of the layers in it, the exported one first.
        bytes_read: bytes of files that went in, holes left out; bytes_written: the size of the archive.
        elapsed_us: how long it took.
    """

    output: Path
    layers: tuple[str, ...]
    bytes_read: int
    bytes_written: int
    elapsed_us: int


def export(
    layer: Layer, output: Path, alone: bool = False, flat: bool = False, listener: Listener = ignore, cancel: CancelToken | None = None
) -> ExportResult:
    """Write *layer* and its ancestors into the archive *output*, which must not exist.

    *alone*: without its ancestors, to be imported where they are. *flat*: as one full layer that inherits nothing, for tools that do not
    know parents (checkpointctl memparse).

    Raises:
        ImageError: the layer is not whole, or the archive cannot be written. Nothing is left of it.
        BusyError: another process writes to the stack.
        Cancelled: nothing is left of it.
    """
    chain = layer.chain()
    with _held(chain):
        if not alone:
            _refuse_broken(layer)
        members = chain[:1] if alone or flat else chain
        packed = places_for(members)
        work = Work("export", f"layer {layer.path}", listener, cancel)
        sizes = [info.size for it in (chain if flat else members) for name in it.names() if (info := it.info(name)) and info.is_file]
        work.total = sum(sizes)
        with _new_archive(output) as fd:
            with FrameWriter(lambda data: _write(fd, data)) as frames:
                tar = TarWriter(frames.add)
                _write_layers(tar, members, packed, flat, work)
                tar.end()
                _write(fd, frames.finish().to_bytes())
            os.fsync(fd)
            size = os.fstat(fd).st_size
    return ExportResult(output, tuple(it.name for it in packed), work.done, size, work.elapsed_us)


@contextmanager
def _held(chain: Iterable[Layer]) -> Iterator[None]:
    stacks = [lock.stack_of(member.directory) for member in chain if member.storage.writable]
    with lock.shared(stacks, "cannot export from"):
        yield


def _refuse_broken(layer: Layer) -> None:
    found = [it for it in check_chain(layer) if it.why != layer.memory_only]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ImageError("cannot export", f"layer {layer.path}", f"it is not whole: {found[0]}{more}")


def _write_layers(tar: TarWriter, members: tuple[Layer, ...], packed: list[Packed], flat: bool, work: Work) -> None:
    leaf = members[0]
    when = round(summary_of(leaf).time, 6)
    for name, content in files_at_the_top(leaf, packed).items():
        tar.put(name, content, when)
    if leaf.has("stats-dump"):
        tar.put("stats-dump", leaf.read("stats-dump", 1 << 20), when)
    if len(members) > 1:
        tar.directory("layers", when)
    for at, (member, it) in enumerate(zip(members, packed, strict=True)):
        tar.directory(it.place, when)
        if not flat and member.parent_link is not None:
            tar.link(f"{it.place}/parent", _link(packed, at) or f"../{Path(member.parent_link).name}", when)
        made: dict[str, FileSum] = {}
        for entry in flat_entries(member) if flat else entries_of(member):
            new = flat and entry.name.startswith(("pagemap-", "pages-"))
            found = _write_file(tar, member, it.place, entry, new, work)
            if new:
                made[entry.name] = found
        sidecar = member.sidecar
        if sidecar is not None:
            # Last, for only now it is known what a flat layer holds.
            if flat or member.has(RECEIVED_NAME):
                text = (flat_sidecar(sidecar, made) if flat else sidecar).to_json().encode("ascii")
            else:
                text = member.read(SIDECAR)
            tar.put(f"{it.place}/{SIDECAR}", text, when)


def _link(packed: list[Packed], at: int) -> str | None:
    """The `parent` link of a layer in the archive; None if the parent is not in it."""
    if at + 1 == len(packed):
        return None
    return f"../{packed[at + 1].place}" if at == 0 else f"../{packed[at + 1].name}"


def _write_file(tar: TarWriter, layer: Layer, place: str, entry: Entry, new: bool, work: Work) -> FileSum:
    """Returns its checksum if it is *new*; the others are verified against the sidecar."""
    blocks: list[int] = []
    with entry.open() as content:
        pieces = pieces_of(content)
        whole = pieces == [(0, content.size)]
        tar.file(f"{place}/{entry.name}", content.size, entry.mode, entry.mtime, pieces)
        checked = None if new or not whole else Checked(layer, entry.name, content.size)

        def put(data: bytes, at: int) -> None:
            if checked:
                checked.block(data, at)
            elif new:
                blocks.extend(sum_bytes(data).blocks)
            tar.data(data)
            work.step(len(data))

        copy(content, pieces, put)
        return FileSum(content.size, tuple(blocks))


@contextmanager
def _new_archive(output: Path) -> Iterator[int]:
    """A file that gets the name *output* at the end, unless that is taken. Until then it has no name, so a crash leaves nothing."""
    if os.path.lexists(output):
        raise ImageError("cannot export", f"to {output}", "it is there already", "choose another name")
    new: Path | None = None
    fd = -1
    try:
        try:
            fd = os.open(output.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
                raise
            new = output.with_name(f".{output.name}.lamina-new")  # a file system that cannot make a file without a name
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        yield fd
        if new is None:
            # With a directory given, link(2) becomes linkat(2), which follows that link.
            os.link(f"/proc/self/fd/{fd}", output, src_dir_fd=fd, follow_symlinks=True)
        else:
            rename_new(new, output)
        sync_directory(output.parent)
    except OSError as error:
        raise replace(cannot_write(output, error.errno or 0), what="cannot write archive") from error
    finally:
        if new is not None:
            with suppress(OSError):
                new.unlink()
        if fd >= 0:
            os.close(fd)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
