"""A layer in a directory. Large files may lie there compressed, and are read as if they did not."""

import os
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.format import MAX_FILE, read_file
from lamina.core.image.places.place import Content, FileInfo, Place

COMPRESSED = ".zst"


class PlainContent(Content):
    """A regular file."""

    def __init__(self, path: Path) -> None:
        """Open *path*.

        Raises:
            ImageError: missing, not a regular file, or not readable.
        """
        self._path = path
        try:
            # O_NONBLOCK: a FIFO put in the place of an image must not hang us.
            self.fd: int | None = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            why = "missing" if isinstance(error, FileNotFoundError) else os.strerror(error.errno or 0)
            raise ImageError("cannot read image", str(path), why) from error
        info = os.fstat(self.fd)
        self.size = info.st_size
        if info.st_mode & 0o170000 != 0o100000:
            self.close()
            raise ImageError("cannot read image", str(path), "not a regular file")

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
            raise ImageError("cannot read image", str(self._path), os.strerror(error.errno or 0)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """See `Content`."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class DirectoryPlace(Place):
    """A directory that holds the files of a layer."""

    writable = True

    def __init__(self, path: Path) -> None:
        """The directory *path*; a symbolic link to one is followed.

        Raises:
            ImageError: there is no such directory.
        """
        try:
            self.path = path.resolve(strict=True)
            info = self.path.stat()
        except (OSError, RuntimeError, ValueError) as error:
            why = "no such directory" if isinstance(error, FileNotFoundError) else str(error)
            raise ImageError("not a layer", str(path), why) from error
        self.key = (info.st_dev, info.st_ino)

    def names(self) -> tuple[str, ...]:
        """See `Place`. A compressed file goes by the name of its content."""
        try:
            names = set(os.listdir(self.path))
        except OSError as error:
            raise ImageError("cannot read", f"layer {self.path}", os.strerror(error.errno or 0)) from error
        return tuple(sorted({name.removesuffix(COMPRESSED) if is_compressed_name(name) else name for name in names}))

    def info(self, name: str) -> FileInfo | None:
        """See `Place`."""
        try:
            found = os.lstat(self.path / name)
            size = found.st_size
        except (OSError, ValueError):
            try:
                found = os.lstat(self.path / (name + COMPRESSED))
            except (OSError, ValueError):
                return None
            if not is_compressed_name(name + COMPRESSED):
                return None
            from lamina.core.image.places.compressed import expanded_size

            size = expanded_size(self.path / (name + COMPRESSED))
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        return FileInfo(size, found.st_blocks * 512, found.st_mtime, found.st_uid, found.st_mode, stamp)

    def open(self, name: str) -> Content:
        """See `Place`."""
        path = self.path / name
        if not os.path.lexists(path) and is_compressed_name(name + COMPRESSED) and os.path.lexists(f"{path}{COMPRESSED}"):
            from lamina.core.image.places.compressed import CompressedContent

            return CompressedContent(self.path / (name + COMPRESSED))
        return PlainContent(path)

    def read(self, name: str, limit: int = MAX_FILE) -> bytes:
        """See `Place`."""
        return read_file(self.path / name, limit)

    def link(self, name: str) -> str:
        """See `Place`."""
        try:
            return os.readlink(self.path / name)
        except OSError as error:
            raise ImageError("cannot use layer", str(self.path), f"its `{name}` is not a symbolic link") from error

    def follow(self, link: str) -> Place:
        """See `Place`."""
        return DirectoryPlace(self.path / link)


def is_compressed_name(name: str) -> bool:
    """Whether a file of that name is a compressed one: only pages are ever compressed."""
    return name.startswith("pages-") and name.endswith(".img" + COMPRESSED)
