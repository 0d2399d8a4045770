"""Zstandard in frames that can be read one by one: the seekable format (facebook/zstd, contrib/seekable_format, version 0.1.0).

A file is a series of frames with `FRAME` bytes of content each, and at the end a table of their sizes in a frame that decoders skip.
`zstd -d` reads it like any other .zst file; we look up the frame of an offset and decode only that.
"""

import struct
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import sched_getaffinity
from types import TracebackType

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from lamina.core.errors import ImageError
from lamina.core.image.storage.content import Content

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME = 1 << 20
LEVEL = 3
# A file with larger frames is read as if it had no table: one frame is decoded whole for a single page of it.
MAX_FRAME = 1 << 25
FRAME_MAGIC = 0xFD2FB528
SKIPPABLE_MAGIC = 0x184D2A50  # to …5F
_TABLE_MAGIC = 0x184D2A5E
_SEEKABLE_MAGIC = 0x8F92EAB1
_FOOTER = struct.Struct("<IBI")
# Frames kept decoded: what a reader that walks memory in address order comes back to.
_KEPT = 16
ZstdError = zstd.ZstdError
ZstdDecompressor = zstd.ZstdDecompressor

Sizes = npt.NDArray[np.uint64]


def compress_frame(data: bytes, level: int = LEVEL) -> bytes:
    """One frame that says its size and carries a checksum."""
    options: dict[int, int] = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(data, options=options)


def expand_frame(data: bytes, size: int, name: str) -> bytes:
    """The *size* bytes of a frame; never more, whatever it says. *name* is for messages.

    Raises:
        ImageError: it is damaged, or of another size.
    """
    decoder = zstd.ZstdDecompressor()
    try:
        content = decoder.decompress(data, max_length=size + 1)
    except zstd.ZstdError as error:
        raise ImageError("cannot read", name, f"a frame of it is damaged: {error}") from error
    if len(content) != size or (size and not decoder.eof):
        raise ImageError("cannot read", name, "a frame of it is not as long as its table says")
    return content


def skippable(kind: int, payload: bytes) -> bytes:
    """A frame that decoders skip; *kind* is 0 to 15."""
    return struct.pack("<II", SKIPPABLE_MAGIC + kind, len(payload)) + payload


class SeekTable:
    """Where each frame is.

    Attributes:
        packed: offsets of the frames in the file, and the end of the last.
        expanded: offsets of their content, and its end.
    """

    def __init__(self, packed_sizes: Sizes, expanded_sizes: Sizes) -> None:
        """From the sizes of the frames."""
        zero = np.zeros(1, dtype=np.uint64)
        self.packed = np.concatenate((zero, np.cumsum(packed_sizes, dtype=np.uint64)))
        self.expanded = np.concatenate((zero, np.cumsum(expanded_sizes, dtype=np.uint64)))

    @property
    def size(self) -> int:
        """Bytes of content."""
        return int(self.expanded[-1])

    @classmethod
    def read(cls, content: Content) -> "SeekTable | None":
        """The table at the end of *content*, or None if there is none that can be used."""
        if content.size < 17:
            return None
        count, flags, magic = _FOOTER.unpack(content.pread(9, content.size - 9))
        width = 12 if flags & 0x80 else 8
        length = count * width + 9
        start = content.size - length - 8
        if magic != _SEEKABLE_MAGIC or flags & 0x7C or start < 0:
            return None
        if struct.unpack("<II", content.pread(8, start)) != (_TABLE_MAGIC, length):
            return None
        rows = np.frombuffer(content.pread(count * width, start + 8), dtype="<u4").reshape(count, width // 4)
        packed, expanded = rows[:, 0].astype(np.uint64), rows[:, 1].astype(np.uint64)
        # The frames must be all that is before the table, and none so large that reading a page of it would be dear.
        if int(packed.sum()) != start or ((packed > MAX_FRAME) | (expanded > MAX_FRAME)).any():
            return None
        return cls(packed, expanded)

    def frame_of(self, offset: int) -> int:
        """The frame that holds the byte at *offset* of the content."""
        return int(np.searchsorted(self.expanded, np.uint64(offset), side="right")) - 1

    def to_bytes(self) -> bytes:
        """The table as a frame for the end of a file."""
        count = len(self.packed) - 1
        rows = np.empty((count, 2), dtype="<u4")
        rows[:, 0] = np.diff(self.packed)
        rows[:, 1] = np.diff(self.expanded)
        return skippable(_TABLE_MAGIC - SKIPPABLE_MAGIC, rows.tobytes() + _FOOTER.pack(count, 0, _SEEKABLE_MAGIC))


class FrameWriter:
    """Content in, frames out, compressed on every processor, in order. Use as a context manager; `finish` ends it.

    Attributes:
        written: bytes of frames handed to *write* so far.
    """

    def __init__(self, write: Callable[[bytes], object], level: int = LEVEL) -> None:
        """*write* gets the frames, on the caller's thread."""
        self._write = write
        self._level = level
        self._workers = min(4, len(sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(self._workers)
        self._pending: deque[tuple[Future[bytes] | bytes, int]] = deque()
        self._rest = bytearray()
        self._packed: list[int] = []
        self._expanded: list[int] = []
        self._zeros = b""
        self.written = 0

    def __enter__(self) -> "FrameWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, data: bytes) -> None:
        """More content. Raises what *write* raises."""
        if not self._rest and len(data) == FRAME:
            self._submit(data)
            return
        self._rest += data
        while len(self._rest) >= FRAME:
            self._submit(bytes(memoryview(self._rest)[:FRAME]))
            del self._rest[:FRAME]

    def add_skippable(self, frame: bytes) -> None:
        """A frame without content, between frames. Raises what *write* raises."""
        self._flush()
        self._pending.append((frame, 0))

    def finish(self) -> SeekTable:
        """Write what is left; returns the table, which is not written. Raises what *write* raises."""
        self._flush()
        self._drain(0)
        return SeekTable(np.array(self._packed, dtype=np.uint64), np.array(self._expanded, dtype=np.uint64))

    def _flush(self) -> None:
        if self._rest:
            self._submit(bytes(self._rest))
            self._rest.clear()

    def _submit(self, data: bytes) -> None:
        self._drain(2 * self._workers)
        if data == _ZEROS:
            self._zeros = self._zeros or compress_frame(data, self._level)
            self._pending.append((self._zeros, FRAME))
        else:
            self._pending.append((self._pool.submit(compress_frame, data, self._level), len(data)))

    def _drain(self, left: int) -> None:
        while len(self._pending) > left:
            frame, size = self._pending.popleft()
            data = frame if isinstance(frame, bytes) else frame.result()
            self._write(data)
            self.written += len(data)
            self._packed.append(len(data))
            self._expanded.append(size)


class FramedContent(Content):
    """The content of the frames in *source*. Closing it closes *source*."""

    fd = None

    def __init__(self, source: Content, table: SeekTable, name: str) -> None:
        """*name* is for messages."""
        self._source = source
        self._table = table
        self._name = name
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.size = table.size

    @override
    def pread(self, size: int, offset: int) -> bytes:
        parts = list(self._parts(size, offset))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _parts(self, size: int, offset: int) -> Iterator[bytes]:
        end = min(offset + size, self.size)
        while offset < end:
            index = self._table.frame_of(offset)
            start = int(self._table.expanded[index])
            data = self._frame(index)
            part = data[offset - start : end - start]
            yield part
            offset += len(part)

    def _frame(self, index: int) -> bytes:
        with self._lock:
            if (data := self._kept.get(index)) is not None:
                self._kept.move_to_end(index)
                return data
        at, end = int(self._table.packed[index]), int(self._table.packed[index + 1])
        size = int(self._table.expanded[index + 1] - self._table.expanded[index])
        data = expand_frame(self._source.pread(end - at, at), size, self._name)
        with self._lock:
            self._kept[index] = data
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return data

    @override
    def close(self) -> None:
        self._source.close()
        with self._lock:
            self._kept.clear()


_ZEROS = bytes(FRAME)
