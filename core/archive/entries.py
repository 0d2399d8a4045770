"""The files of a layer as they go into an archive: which, what of each is no hole, and whether it is still what was written."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import xxhash

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer
from lamina.core.image.sidecar import RECEIVED_NAME
from lamina.core.image.storage.archive import MemberContent
from lamina.core.image.storage.compressed import CompressedContent
from lamina.core.image.storage.content import Content
from lamina.core.image.sums import BLOCK

# What a file of a layer can be called, in an archive too: anything else could mean something to whoever finds it in a directory.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class Entry:
    """One file to be archived.

    Attributes:
        name: its name in the layer; size: bytes; mode: permissions; mtime: seconds since 1970.
        open: opens it.
    """

    name: str
    size: int
    mode: int
    mtime: float
    open: Callable[[], Content]


def entries_of(layer: Layer) -> Iterator[Entry]:
    """The regular files of *layer*, the small images before the pages; without the `parent` link and the sidecar.

    Raises:
        ImageError: it cannot be read.
    """
    for name in sorted(layer.names(), key=lambda name: (name.startswith("pages-"), name)):
        info = layer.info(name)
        if info is None or not info.is_file or not NAME.fullmatch(name) or name in ("lamina.json", RECEIVED_NAME):
            continue
        yield Entry(name, info.size, info.mode & 0o777, round(info.mtime, 6), lambda name=name: layer.open(name))  # type: ignore[misc]


def pieces_of(content: Content) -> list[tuple[int, int]]:
    """The parts of an open file that are not holes, as (offset, bytes), ascending."""
    if isinstance(content, MemberContent):
        return list(zip(content.member.starts.tolist(), content.member.sizes.tolist(), strict=True))
    holes = PageRuns.empty()
    if isinstance(content, CompressedContent):
        holes = content.original.holes
    elif content.fd is not None:
        with suppress(NativeError):  # a file system that does not tell
            holes = holes_of(content.fd, content.size)
    if not holes:
        return [(0, content.size)] if content.size else []
    data = PageRuns.of([(0, -(-content.size // PAGE) * PAGE)]) - holes
    sizes = np.minimum(data.ends, np.uint64(content.size)) - data.starts
    return list(zip(data.starts.tolist(), sizes.tolist(), strict=True))


def copy(content: Content, pieces: list[tuple[int, int]], put: Callable[[bytes, int], None]) -> None:
    """Pass the content of the *pieces* of an open file to *put*, with its offset, at most 1 MiB at a time.

    Raises:
        ImageError: it cannot be read, or has become shorter.
    """
    for start, size in pieces:
        at = start
        while at < start + size:
            # To the next whole MiB: blocks are summed, and frames read, one at a time.
            data = content.pread(min(start + size - at, (1 << 20) - at % (1 << 20)), at)
            if not data:
                raise ImageError("cannot read image", "", f"ends at offset {at} of {start + size}")
            put(data, at)
            at += len(data)


class Checked:
    """Verifies one file of a layer, block by block. Blocks with punched ranges are not compared: their content is gone."""

    def __init__(self, layer: Layer, name: str, size: int) -> None:
        """*size* is what it has now.

        Raises:
            ImageError: it was written with another size.
        """
        sidecar = layer.sidecar
        self._path = layer.file(name)
        self._expected = sidecar.checksums.get(name) if sidecar else None
        self._punched = sidecar.punched.get(name, PageRuns.empty()) if sidecar else PageRuns.empty()
        if self._expected is not None and self._expected.size != size:
            raise ImageError("damaged image", str(self._path), f"has {size} bytes, was written with {self._expected.size}")

    def block(self, data: bytes, at: int) -> int:
        """The checksum of the `BLOCK` bytes (the last ones fewer) at *at*.

        Raises:
            ImageError: they are not what was written.
        """
        found = xxhash.xxh3_64_intdigest(data)
        if self._expected is not None and found != self._expected.blocks[at // BLOCK] and not self._punched.clip(at, at + BLOCK):
            raise ImageError("damaged image", str(self._path), f"its content changed since it was written (checksum of MiB {at // BLOCK})")
        return found
