"""Compressed pages files: pages-1.img.zst, read as if it were pages-1.img.

The first frame, which decoders skip, holds the metadata of the original file: mode, time of change, and the ranges without blocks (punched
by dedup, or never written). So expanding needs nothing but the file.
"""

import json
import os
import stat
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.seekable import SKIPPABLE_MAGIC, FramedContent, SeekTable, skippable

_HEAD_KIND = 9
_VERSION = 1
_MAX_HEAD = 1 << 27


@dataclass(frozen=True)
class Original:
    """The metadata of the original file.

    Attributes:
        size: bytes.
        mode: permissions.
        mtime_ns: when it was changed, ns since 1970.
        holes: ranges without blocks (file offsets).
    """

    size: int
    mode: int
    mtime_ns: int
    holes: PageRuns

    def to_frame(self) -> bytes:
        """The first frame of a compressed file."""
        table = np.stack((self.holes.starts, self.holes.sizes), axis=1).astype("<u8")
        head = {"lamina": "compressed", "version": _VERSION, "size": self.size, "mode": self.mode, "mtime_ns": self.mtime_ns}
        return skippable(_HEAD_KIND, json.dumps(head).encode("ascii") + b"\n" + table.tobytes())

    @classmethod
    def from_frame(cls, payload: bytes, name: str) -> "Original":
        """From the payload of that frame.

        Raises:
            ImageError: it is not one.
        """
        text, _, rest = payload.partition(b"\n")
        try:
            head = json.loads(text)
            if head["lamina"] != "compressed" or head["version"] != _VERSION:
                raise ValueError(f"its version is {head['version']!r:.20}; this lamina reads {_VERSION}")
            size, mode, mtime_ns = head["size"], head["mode"], head["mtime_ns"]
            if not all(type(it) is int for it in (size, mode, mtime_ns)) or not 0 <= size < 1 << 62 or not 0 <= mode <= 0o7777:
                raise ValueError("its head is not sound")
            table = np.frombuffer(rest, dtype="<u8").reshape(-1, 2)
            starts, sizes = table[:, 0], table[:, 1]
            if len(table) and (int(sizes.max()) > size or int(starts.max()) > size or int((starts + sizes).max()) > size):
                raise ValueError("it has holes behind its end")
            holes = PageRuns.from_arrays(starts.astype(np.uint64), (starts + sizes).astype(np.uint64))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ImageError("damaged image", name, f"not a file that lamina compressed: {error}") from error
        return cls(size, mode, mtime_ns, holes)


class CompressedContent(FramedContent):
    """The content of a compressed file.

    Attributes:
        original: the metadata of the original file.
    """

    def __init__(self, source: Content | Path, name: str = "") -> None:
        """Open the compressed file *source*; *name* is for messages.

        Raises:
            ImageError: it cannot be read, or is not one.
        """
        name = name or str(source)
        opened = PlainContent(source) if isinstance(source, Path) else source
        try:
            self.original = _original_of(opened, name)
            table = SeekTable.read(opened)
            if table is None or table.size != self.original.size:
                raise ImageError("damaged image", name, "its table of frames is damaged, or it is cut short")
        except BaseException:
            opened.close()
            raise
        super().__init__(opened, table, name)


def _original_of(source: Content, name: str) -> Original:
    head = source.pread(8, 0)
    magic, length = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
    if magic != SKIPPABLE_MAGIC + _HEAD_KIND or length > min(source.size, _MAX_HEAD):
        raise ImageError("damaged image", name, "not a file that lamina compressed")
    return Original.from_frame(source.pread(length, 8), name)


_known: "OrderedDict[tuple[int, ...], int]" = OrderedDict()
_lock = Lock()


def expanded_size(path: Path) -> int:
    """The size of the content of a compressed file, from its first frame; 0 if that cannot be read: reading the content will say why."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    with _lock:
        if key in _known:
            return _known[key]
    size = 0
    if stat.S_ISREG(found.st_mode):
        try:
            with PlainContent(path) as source:
                size = _original_of(source, os.fspath(path)).size
        except ImageError:
            return 0
    with _lock:
        _known[key] = size
        if len(_known) > 4096:
            _known.popitem(last=False)
    return size
