"""A plain file, read."""

import os
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.storage.place import Content
from lamina.core.image.storage.walk import Check, ignore


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

    def pread(self, size: int, offset: int) -> bytes:
        """See `Content`."""
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

    def close(self) -> None:
        """See `Content`."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __del__(self) -> None:
        self.close()
