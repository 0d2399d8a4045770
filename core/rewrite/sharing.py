"""Equal pages anywhere in a stack: found by hashing every page, and stored once where the file system shares blocks.

The kernel compares the bytes itself before it lets two ranges share blocks (ioctl_fideduperange(2)), so neither a hash collision nor
another writer can change the content of a layer. Nothing is recorded, and a crash leaves every layer as it was.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.events import CancelToken, Listener, Meter, ignore
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer
from lamina.core.rewrite.checksums import open_plain
from lamina.core.rewrite.needed_pages import NONE, FileKey, file_key
from lamina.core.rewrite.reflink import NOT_KNOWN, physical_addresses, share

_CHUNK = 1 << 20
# Ranges handed to the kernel between two looks at the cancel token.
_BATCH = 256


@dataclass(frozen=True)
class PagesFile:
    """A pages file of a stack.

    Attributes:
        layer, name: where it is.
        size: bytes that its maps claim.
        left_out: file offsets that do not count: they are about to be freed, or were punched.
    """

    layer: Layer
    name: str
    size: int
    left_out: PageRuns = NONE

    @property
    def path(self) -> Path:
        """For messages, and to open it."""
        return self.layer.file(self.name)


@dataclass(frozen=True, eq=False)
class Equal:
    """Pages that are equal to an earlier page and do not share its blocks yet.

    Attributes:
        files: the pages files looked at.
        scanned: pages read; shared: those of them that share the blocks of an equal one already.
        pages: pages that could go: blocks that would be free if each shared those of its equal.
        source, target: index of the file of each range and of its equal one; starts, ends: their offsets; sizes: bytes.
    """

    files: tuple[PagesFile, ...]
    scanned: int
    shared: int
    pages: int
    source: NDArray[np.int64] = field(repr=False)
    target: NDArray[np.int64] = field(repr=False)
    source_at: Addresses = field(repr=False)
    target_at: Addresses = field(repr=False)
    sizes: Addresses = field(repr=False)


def pages_files(layers: Iterable[Layer], left_out: Mapping[tuple[tuple[object, ...], str], PageRuns] | None = None) -> list[PagesFile]:
    """The pages files of *layers*, each file once whatever its names; those in archives and compressed ones are left out.

    *left_out*: by layer key and file name, offsets that do not count.
    """
    found: dict[FileKey, PagesFile] = {}
    for layer in layers:
        sidecar = layer.sidecar
        if not layer.storage.writable or layer.compressed:
            continue
        for which in layer.objects:
            name, size = layer.pages_name(which), layer.pagemap(which).data_bytes
            if not size:
                continue
            without = (left_out or {}).get((layer.key, name), NONE) | (sidecar.punched.get(name, NONE) if sidecar else NONE)
            found.setdefault(file_key(layer, name), PagesFile(layer, name, size, without))
    return list(found.values())


def find_equal(
    files: Sequence[PagesFile], targets: Iterable[Layer] | None = None, listen: Listener = ignore, cancel: CancelToken | None = None
) -> Equal:
    """Read and hash every page of *files*. Pages that are equal to an earlier one become targets, only those in *targets* if given.

    Raises:
        ImageError: a file cannot be read.
        Cancelled: as asked.
    """
    wanted = None if targets is None else {layer.key for layer in targets}
    # What may be a target comes last: of two equal pages the later one gives its blocks up.
    ordered = sorted(files, key=lambda it: wanted is not None and it.layer.key in wanted)
    meter = Meter("hash", listen, total=sum(it.size for it in ordered))
    owner: list[NDArray[np.int64]] = []
    columns: list[tuple[Addresses, Addresses, Addresses]] = []
    for at, file in enumerate(ordered):
        columns.append(_hashed(file, meter, cancel or CancelToken()))
        owner.append(np.full(columns[-1][0].size, at, dtype=np.int64))
    of = np.concatenate(owner) if owner else np.empty(0, dtype=np.int64)
    none = np.empty(0, dtype=np.uint64)
    offsets, hashes, where = (np.concatenate(it) for it in zip(*columns, strict=True)) if columns else (none, none, none)
    later, earlier = _pairs(hashes)
    same = (where[later] == where[earlier]) & (where[later] != NOT_KNOWN)
    apart_later, apart_earlier = later[~same], earlier[~same]
    if wanted is not None:
        may = np.array([it.layer.key in wanted for it in ordered], dtype=np.bool_)
        keep = may[of[apart_later]] if may.size else np.zeros(0, dtype=np.bool_)
        apart_later, apart_earlier = apart_later[keep], apart_earlier[keep]
    known = where[apart_later][where[apart_later] != NOT_KNOWN]
    free = int(np.unique(known).size) + int((where[apart_later] == NOT_KNOWN).sum())
    return Equal(tuple(ordered), int(of.size), int(same.sum()), free, *_ranges(of, offsets, apart_earlier, apart_later))


def make_shared(equal: Equal, listen: Listener = ignore, cancel: CancelToken | None = None) -> int:
    """Let every range of *equal* share the blocks of its equal one. Returns the bytes shared.

    Raises:
        ImageError: a file cannot be opened for writing, or the file system refuses.
        Cancelled: what was shared until then stays so; no layer changed.
    """
    token = cancel or CancelToken()
    meter = Meter("share", listen, total=int(equal.sizes.sum(dtype=np.uint64)))
    done = 0
    order = np.lexsort((equal.target_at, equal.source, equal.target))
    pairs = np.stack((equal.target[order], equal.source[order]))
    heads = np.flatnonzero(np.any(np.diff(pairs, prepend=-1, axis=1) != 0, axis=0)) if order.size else order
    for first, last in zip(heads.tolist(), [*heads[1:].tolist(), int(order.size)], strict=True):
        source, target = equal.files[int(pairs[1, first])], equal.files[int(pairs[0, first])]
        with ExitStack() as opened:
            to_fd = open_plain(target.path, "cannot share", os.O_RDWR)
            opened.callback(os.close, to_fd)
            from_fd = open_plain(source.path, "cannot share")
            opened.callback(os.close, from_fd)
            for at in range(first, last, _BATCH):
                token.check(f"sharing in {target.layer.name}")
                part = order[at : min(at + _BATCH, last)]
                try:
                    done += int(share(from_fd, to_fd, equal.source_at[part], equal.target_at[part], equal.sizes[part]).sum())
                except NativeError as error:
                    raise ImageError("cannot share", str(target.path), f"{error.reason} (with {source.path})") from error
                meter.step(int(equal.sizes[part].sum()))
    return done


def _hashed(file: PagesFile, meter: Meter, cancel: CancelToken) -> tuple[Addresses, Addresses, Addresses]:
    """Offset, hash and device address of each page that has blocks."""
    fd = open_plain(file.path, "cannot read image")
    try:
        size = min(file.size, os.fstat(fd).st_size // PAGE * PAGE)
        ranges = PageRuns.of([(0, size)]) - holes_of(fd, size) - file.left_out
        meter.step(file.size - ranges.bytes)
        digests: list[int] = []
        for part in ranges.split(_CHUNK // PAGE * 16):
            cancel.check(f"reading {file.path}")
            for start, end in part:
                for at in range(start, end, _CHUNK):
                    digests += _digests(os.pread(fd, min(_CHUNK, end - at), at))
            meter.step(part.bytes)
        offsets = ranges.addresses()
        if len(digests) != offsets.size:
            raise ImageError("truncated image", str(file.path), "it became shorter while it was read")
        return offsets, np.array(digests, dtype=np.uint64), physical_addresses(fd, offsets)
    except OSError as error:
        raise ImageError("cannot read image", str(file.path), os.strerror(error.errno or 0)) from error
    finally:
        os.close(fd)


def _digests(data: bytes) -> list[int]:
    # 0.5 µs a page, of which half is the hash: 8 GB/s.
    view, digest = memoryview(data), xxhash.xxh3_64_intdigest
    return [digest(view[at : at + PAGE]) for at in range(0, len(data), PAGE)]


def _pairs(hashes: Addresses) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(page, the first page with the same hash) of every page that has one, ascending by page."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    heads = np.ones(order.size, dtype=np.bool_)
    heads[1:] = ordered[1:] != ordered[:-1]
    first = order[np.maximum.accumulate(np.where(heads, np.arange(order.size), 0))]
    later, earlier = order[~heads], first[~heads]
    back = np.argsort(later, kind="stable")
    return later[back], earlier[back]


def _ranges(
    of: NDArray[np.int64], offsets: Addresses, earlier: NDArray[np.int64], later: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Addresses, Addresses, Addresses]:
    """Pairs of pages as ranges: those that follow each other in both files are one. Sources are never targets, so they do not overlap."""
    if not later.size:
        none, no_offset = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
        return none, none, no_offset, no_offset, no_offset
    page = np.uint64(PAGE)
    joined = np.ones(later.size - 1, dtype=np.bool_)
    for index in (earlier, later):
        joined &= (of[index][1:] == of[index][:-1]) & (offsets[index][1:] == offsets[index][:-1] + page)
    heads = np.flatnonzero(np.concatenate(([True], ~joined)))
    counts = np.diff(np.append(heads, later.size)).astype(np.uint64)
    source, target = earlier[heads], later[heads]
    return of[source], of[target], offsets[source], offsets[target], counts * page
