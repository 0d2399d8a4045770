"""Which parts of a layer's pages files are gone: recorded by our dedup, or freed by another tool.

A punched page still stands in the map and reads as zeros; only the file system knows (SEEK_HOLE). But a hole alone is no proof: a sparse
copy and a file system that stores no zeros make holes of pages that were zero anyway. A checksum decides; without one the page counts as
punched, because what criu's dedup leaves looks exactly like that.
"""

from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import xxhash

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer
from lamina.core.image.sums import BLOCK, FileSum, blocks_of, sum_blocks

_NONE = PageRuns.empty()
_found: WeakKeyDictionary[Layer, dict[str, PageRuns]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Freed:
    """What a pages file no longer holds, as file offsets.

    Attributes:
        recorded: what the sidecar says that dedup freed, or was about to.
        foreign: holes that nobody recorded.
    """

    recorded: PageRuns = _NONE
    foreign: PageRuns = _NONE

    @property
    def all(self) -> PageRuns:
        """Both."""
        return self.recorded | self.foreign


def freed_in(layer: Layer, name: str) -> Freed:
    """What was freed in the pages file *name* of *layer*. Costs an lstat if the file has no holes.

    Raises:
        ImageError: the file or the sidecar cannot be read.
    """
    sidecar = layer.sidecar
    recorded = sidecar.punched.get(name, _NONE) if sidecar else _NONE
    known = _found.setdefault(layer, {})
    if name not in known:
        known[name] = _foreign(layer, name, recorded, sidecar.checksums.get(name) if sidecar else None)
    return Freed(recorded, known[name] - recorded)


def _foreign(layer: Layer, name: str, recorded: PageRuns, expected: FileSum | None) -> PageRuns:
    info = layer.info(name)
    if info is None or not info.is_file or info.disk_bytes >= info.size:
        return _NONE
    with layer.open(name) as content:
        if content.fd is None:
            return _NONE  # in an archive or compressed: holes cannot be told from zeros
        try:
            holes = holes_of(content.fd, content.size) - recorded
            if not holes or expected is None or expected.size != content.size:
                return holes
            return _not_zero(content.fd, expected, holes, recorded)
        except (NativeError, OSError) as error:
            raise ImageError("cannot read image", str(layer.file(name)), str(error)) from error


def _not_zero(fd: int, expected: FileSum, holes: PageRuns, recorded: PageRuns) -> PageRuns:
    """*holes* without those in blocks that read now as they were written. Only blocks that are not all hole are read."""
    wrong = _NONE
    doubtful: list[int] = []
    for index in blocks_of(holes):
        length = min(BLOCK, expected.size - index * BLOCK)
        inside = holes.clip(index * BLOCK, index * BLOCK + BLOCK)
        if inside.bytes < length:
            doubtful.append(index)
        elif expected.blocks[index] != _zeros(length):
            wrong |= inside
    for index, digest in sum_blocks(fd, expected.size, doubtful, recorded).items():
        if expected.blocks[index] != digest:
            wrong |= holes.clip(index * BLOCK, index * BLOCK + BLOCK)
    return wrong


@lru_cache(maxsize=8)
def _zeros(length: int) -> int:
    return xxhash.xxh3_64_intdigest(bytes(length))
