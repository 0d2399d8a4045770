"""Which pages of a layer's pages files were punched: by our dedup, which records it, or by another tool.

A punched page is still in the map and reads as zeros; only the file system knows (SEEK_HOLE). But a hole alone proves nothing: a sparse
copy, or a file system that stores no zeros, has holes where pages are really zero. The checksum decides. Without a checksum the page counts
as punched, because criu's dedup leaves the same.
"""

import os
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer
from lamina.core.image.storage.content import Content
from lamina.core.image.sums import BLOCK, ZERO_BLOCK, FileSum, sum_blocks

_NONE = PageRuns.empty()
_found: WeakKeyDictionary[Layer, dict[str, PageRuns]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Freed:
    """What was punched in a pages file, as file offsets.

    Attributes:
        recorded: freed by dedup, or about to be, according to the sidecar.
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


def holes_in(layer: Layer, name: str, content: Content) -> PageRuns:
    """The holes of a file of *layer* that is open as *content*, as file offsets; none are seen in an archive or a compressed file.

    Raises:
        ImageError: the file system does not answer.
    """
    info = layer.info(name)
    if info is None or content.fd is None or info.disk_bytes >= content.size:
        return _NONE
    try:
        return holes_of(content.fd, content.size)
    except NativeError as error:
        raise ImageError("cannot read image", str(layer.file(name)), str(error)) from error


def _foreign(layer: Layer, name: str, recorded: PageRuns, expected: FileSum | None) -> PageRuns:
    info = layer.info(name)
    if info is None or not info.is_file or info.disk_bytes >= info.size:
        return _NONE
    with layer.open(name) as content:
        holes = holes_in(layer, name, content) - recorded
        if not holes or content.fd is None or expected is None or expected.size != content.size:
            return holes
        try:
            return _not_zero(content.fd, expected, holes, recorded)
        except OSError as error:
            raise ImageError("cannot read image", str(layer.file(name)), os.strerror(error.errno or 0)) from error


def _not_zero(fd: int, expected: FileSum, holes: PageRuns, recorded: PageRuns) -> PageRuns:
    """*holes* without those in blocks that read now as they were written. Only blocks that are not all hole are read."""
    wrong: set[int] = set()
    doubtful: set[int] = set()
    whole = expected.size // BLOCK
    for start, end in holes:
        first, last = -(-start // BLOCK), end // BLOCK
        inside = expected.blocks[first : min(last, whole)]
        # Comparing them one by one is only for those that are not all zero.
        if inside.count(ZERO_BLOCK) != len(inside):
            wrong.update(first + at for at, digest in enumerate(inside) if digest != ZERO_BLOCK)
        doubtful.update(range(start // BLOCK, min(first, last + 1)), range(max(last, first - 1), -(-end // BLOCK)))
    sums = sum_blocks(fd, expected.size, sorted(doubtful - wrong), recorded)
    wrong.update(index for index, digest in sums.items() if expected.blocks[index] != digest)
    if not wrong:
        return _NONE
    return holes & PageRuns.of((index * BLOCK, index * BLOCK + BLOCK) for index in wrong)
