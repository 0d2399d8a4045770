"""Random access to the content of an archive file, whatever it was compressed with.

A plain tar is read in place, and so is zstd in frames with a table (what `lamina export` writes). Any other compression can only be read
from its beginning: it is decoded once, and kept as frames of our own, compressed again, in memory up to `MEMORY` bytes and above that in a
temporary file that has no name and is gone with the process. No named file is ever written.
"""

import bz2
import lzma
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lamina.core.errors import ImageError
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.seekable import (
    FRAME_MAGIC,
    SKIPPABLE_MAGIC,
    FramedContent,
    FrameWriter,
    SeekTable,
    ZstdDecompressor,
    ZstdError,
)

MEMORY = 256 << 20
# An archive may hold this much beyond what it has itself: memory rarely packs better than 1 : 100, long runs of zeros do.
MAX_RATIO = 1000
FREE_OF_RATIO = 64 << 30
_PIECE = 1 << 20


class _Decoder(Protocol):
    """What the decoders of bz2, lzma and zstd share."""

    @property
    def eof(self) -> bool:
        """It is at the end of a member."""

    @property
    def needs_input(self) -> bool:
        """It can say no more without more data."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end of the member."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most *max_length* bytes of content; *data* is what comes next."""


class _Gzip:
    """zlib's decoder with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.eof and not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _decoder_of(head: bytes) -> Callable[[], _Decoder] | None:
    first = int.from_bytes(head[:4], "little")
    if first == FRAME_MAGIC or first & ~0xF == SKIPPABLE_MAGIC:
        return ZstdDecompressor
    if head.startswith(b"\x1f\x8b"):
        return _Gzip
    if head.startswith(b"\xfd7zXZ\0"):
        return lambda: lzma.LZMADecompressor(memlimit=1 << 30)
    return bz2.BZ2Decompressor if head.startswith(b"BZh") else None


def open_stream(source: PlainContent | Path) -> Content:
    """The content of the file *source*, decompressed. An open one is closed with what is returned, or before.

    Raises:
        ImageError: it cannot be read, is damaged, or holds far more than an archive of its size can.
    """
    source = PlainContent(source) if isinstance(source, Path) else source
    path = source.path
    try:
        decoder = _decoder_of(source.pread(8, 0))
        if decoder is None:
            return source
        if decoder == ZstdDecompressor and (table := SeekTable.read(source)) is not None:
            return FramedContent(source, table, str(path))
        kept = _keep(_decoded(source, decoder, str(path)), str(path))
    except BaseException:
        source.close()
        raise
    source.close()
    return kept


def _decoded(source: Content, make: Callable[[], _Decoder], name: str) -> Iterator[bytes]:
    """The content in pieces, of one member (frame, stream) after the other."""
    decoder = make()
    begun = True
    at = total = 0
    limit = FREE_OF_RATIO + MAX_RATIO * source.size
    try:
        while True:
            data = b""
            if decoder.eof:
                data, decoder, begun = decoder.unused_data, make(), False
            if decoder.needs_input and not data:
                data = source.pread(_PIECE, at)
                at += len(data)
                if not data:
                    break
            if not begun and not (data := data.lstrip(b"\0")):
                continue  # padding behind the end
            begun = True
            piece = decoder.decompress(data, max_length=_PIECE)
            total += len(piece)
            if total > limit:
                why = f"it expands to more than {limit >> 30} GiB, too much for a file of {source.size} bytes"
                raise ImageError("cannot read", name, why)
            if piece:
                yield piece
    except (ZstdError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise ImageError("cannot read", name, f"it is damaged: {error}") from error
    if begun:
        raise ImageError("cannot read", name, "it is cut short")


def _keep(pieces: Iterator[bytes], name: str) -> Content:
    store = _Store(name)
    try:
        with FrameWriter(store.append, level=1) as frames:
            for piece in pieces:
                frames.add(piece)
            return FramedContent(store, frames.finish(), name)
    except BaseException:
        store.close()
        raise


class _Store(Content):
    """Bytes that only this process can reach: in memory, then in a file without a name."""

    fd = None

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = os.memfd_create("lamina-archive", os.MFD_CLOEXEC)
        self._in_memory = True
        self.size = 0

    def append(self, data: bytes) -> None:
        if self._in_memory and self.size + len(data) > MEMORY:
            self._move()
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, memoryview(data)[done:], self.size + done)
            self.size += done
        except OSError as error:
            raise self._error(error) from error

    def _move(self) -> None:
        try:
            with tempfile.TemporaryFile(prefix="lamina-") as file:
                target = os.dup(file.fileno())
            at = 0
            while at < self.size:
                at += os.sendfile(target, self._file, at, self.size - at)
        except OSError as error:
            raise self._error(error) from error
        os.close(self._file)
        self._file, self._in_memory = target, False

    def _error(self, error: OSError) -> ImageError:
        why = f"no room to keep it decompressed in {tempfile.gettempdir()}: {os.strerror(error.errno or 0)}"
        return ImageError("cannot read", self._name, why, "decompress it first, or set TMPDIR")

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._file, size, offset)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
