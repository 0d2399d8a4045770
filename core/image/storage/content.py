"""An open file of a layer: bytes at offsets, whether it is a plain file, compressed, or part of an archive."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from typing_extensions import override

from lamina.core.errors import ImageError
from lamina.core.image.storage.walk import Check, ignore


class Content(ABC):
    """An open file of a layer. Use as a context manager; reads may come from several threads.

    Attributes:
        size: bytes.
        fd: the descriptor of a plain file (for C, mmap, SEEK_HOLE), or None if there is none: in an archive, or compressed.
    """

    size: int
    fd: int | None = None

    @abstractmethod
    def pread(self, size: int, offset: int) -> bytes:
        """*size* bytes from *offset*; fewer only at the end of the file.

        Raises:
            ImageError: it cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it. Closing it again does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class PlainContent(Content):
    """A regular file.

    Attributes:
        path: for messages.
        info: what fstat(2) said when it was opened.
    """

    def __init__(self, path: Path, directory: int | None = None, check: Check = ignore) -> None:
        """Open *path*; with *directory*, a descriptor, the file of that name in there. *check* is shown what was opened.

        Raises:
            ImageError: missing, not a regular file, or not readable. What *check* raises.
        """
        self.path = path
        self.fd: int | None = None
        try:
            # O_NONBLOCK: a FIFO put in the place of an image must not hang us.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self.fd = os.open(path if directory is None else path.name, flags, dir_fd=directory)
        except OSError as error:
            why = "missing" if isinstance(error, FileNotFoundError) else os.strerror(error.errno or 0)
            raise ImageError("cannot read image", str(path), why) from error
        self.info = os.fstat(self.fd)
        self.size = self.info.st_size
        if self.info.st_mode & 0o170000 != 0o100000:
            self.close()
            raise ImageError("cannot read image", str(path), "not a regular file")
        check(str(path), self.info)

    @override
    def pread(self, size: int, offset: int) -> bytes:
        if self.fd is None:
            raise ValueError("it was closed")
        parts: list[bytes] = []
        try:
            while size and (part := os.pread(self.fd, min(size, 1 << 30), offset)):
                parts.append(part)
                size -= len(part)
                offset += len(part)
        except OSError as error:
            raise ImageError("cannot read image", str(self.path), os.strerror(error.errno or 0)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @override
    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __del__(self) -> None:
        self.close()
