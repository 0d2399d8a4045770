"""Checksums during a dedup: the layer that keeps its pages is verified first; files that lose pages get new checksums."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import xxhash

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, Meter
from lamina.core.image.layer import Layer
from lamina.core.image.sums import BLOCK, FileSum, sum_blocks

NONE = PageRuns.empty()
# Blocks that one thread takes at a time.
_SHARE = 16


def in_threads(act: Callable[[list[int]], dict[int, int]], blocks: Iterable[int], meter: Meter, cancel: CancelToken) -> dict[int, int]:
    """Run `act` on shares of *blocks*, on all processors (at most 4), and merge what it returns.

    Raises:
        Cancelled: as asked; also whatever *act* raises.
    """
    listed = list(blocks)
    shares = [listed[at : at + _SHARE] for at in range(0, len(listed), _SHARE)]
    found: dict[int, int] = {}
    with ThreadPoolExecutor(min(4, len(os.sched_getaffinity(0)))) as pool:
        try:
            for share, part in zip(shares, pool.map(act, shares), strict=True):
                cancel.check("dedup")
                found |= part
                meter.step(len(share) * BLOCK)
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def require_contents(layer: Layer, what: str, listen: Listener, cancel: CancelToken) -> None:
    """Verify the layer's own pages files and fsync them: they are about to become the only copy.

    Raises:
        ImageError: one is not what was written; *what* begins the line.
        Cancelled: as asked.
    """
    sums = layer.sidecar.checksums if layer.sidecar else {}
    names = sorted({layer.pages_name(which) for which in layer.objects if layer.pagemap(which).present})
    meter = Meter("check", listen, total=sum(sums[name].size for name in names if name in sums))
    for name in names:
        path, expected = layer.file(name), sums.get(name)
        fd = open_plain(path, what)
        try:
            os.fsync(fd)
            if expected is None:
                continue
            punched = layer.sidecar.punched.get(name, NONE) if layer.sidecar else NONE
            found = in_threads(
                lambda share, fd=fd, size=expected.size, punched=punched: sum_blocks(fd, size, share, punched),  # type: ignore[misc]  # defaults bind the loop's values
                range(len(expected.blocks)), meter, cancel,
            )  # fmt: skip
            if bad := [index for index, digest in found.items() if digest != expected.blocks[index]]:
                why = f"{path}: its content changed since it was written (checksum of MiB {min(bad)})"
                raise ImageError(what, f"layer {layer.path}", why)
        except OSError as error:
            raise ImageError(what, str(path), os.strerror(error.errno or 0)) from error
        finally:
            os.close(fd)


def open_plain(path: Path, what: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file of a layer; a symbolic link is not followed. Raises `ImageError`, beginning with *what*."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError(what, str(path), os.strerror(error.errno or 0)) from error


def renew(
    fd: int, path: Path, expected: FileSum, before: PageRuns, after: PageRuns, what: str, meter: Meter, cancel: CancelToken
) -> FileSum:
    """The checksum that an open file will have once *after* is punched too; *before* is what *expected* already counts as punched.

    Each block is verified against its old checksum in the same read, so that a damaged page never gets a new checksum that fits it.

    Raises:
        ImageError: a block is not what was written; *what* begins the line.
        Cancelled: as asked.
    """
    touched = _blocks(after - before)
    gone = set(_whole_blocks(after, expected.size))

    def act(share: list[int]) -> dict[int, int]:
        return {index: _zeros(min(BLOCK, expected.size - index * BLOCK)) if index in gone else one(index) for index in share}

    def one(index: int) -> int:
        start = index * BLOCK
        data = bytearray(os.pread(fd, min(BLOCK, expected.size - start), start))
        _blank(data, start, before)
        if xxhash.xxh3_64_intdigest(data) != expected.blocks[index]:
            why = f"its content changed since it was written (checksum of MiB {index}), and dedup would hide that"
            raise ImageError(what, str(path), why, "restore what you need of it, then remove the layer")
        _blank(data, start, after)
        return xxhash.xxh3_64_intdigest(data)

    if os.fstat(fd).st_size != expected.size:
        raise ImageError(what, str(path), f"it was written with {expected.size} bytes")
    renewed = in_threads(act, touched, meter, cancel)
    return FileSum(expected.size, tuple(renewed.get(index, digest) for index, digest in enumerate(expected.blocks)))


def _zeros(length: int) -> int:
    return xxhash.xxh3_64_intdigest(bytes(length))


def _blank(data: bytearray, start: int, ranges: PageRuns) -> None:
    for low, high in ranges.clip(start, start + BLOCK):
        data[low - start : min(high - start, len(data))] = bytes(min(high - start, len(data)) - (low - start))


def _blocks(ranges: PageRuns) -> list[int]:
    """Indices of the blocks that *ranges* touch."""
    first, last = ranges.starts // np.uint64(BLOCK), (ranges.ends - np.uint64(1)) // np.uint64(BLOCK)
    counts = (last - first + np.uint64(1)).astype(np.int64)
    index = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    listed: list[int] = np.unique(np.repeat(first.astype(np.int64), counts) + index).tolist()
    return listed


def _whole_blocks(ranges: PageRuns, size: int) -> list[int]:
    """Indices of the blocks that are punched entirely."""
    block = np.uint64(BLOCK)
    ends = np.where(ranges.ends >= size, np.uint64(-(-size // BLOCK) * BLOCK), ranges.ends)
    first, last = (ranges.starts + block - np.uint64(1)) // block, ends // block
    return [index for low, high in zip(first.tolist(), last.tolist(), strict=True) if high > low for index in range(low, high)]
