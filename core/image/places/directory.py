"""A layer in a directory. Large files may lie there compressed, and are read as if they did not."""

import os
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.format import MAX_FILE, read_file
from lamina.core.image.places.place import Content, FileInfo, Place
from lamina.core.image.places.plain import PlainContent

COMPRESSED = ".zst"


class DirectoryPlace(Place):
    """A directory that holds the files of a layer.

    A layer is changed by exchanging its directory for another one (`lamina.core.image.shape.rewrite`). Who read a map before that must not
    read pages after it, so a file of another directory than the one that was opened is an error.
    """

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

    def names_in(self, folder: str) -> tuple[str, ...]:
        """See `Place`."""
        try:
            return tuple(sorted(f"{folder}/{name}" for name in os.listdir(self.path / folder)))
        except OSError:
            return ()

    @property
    def compressed(self) -> bool:
        """See `Place`."""
        try:
            return any(is_compressed_name(name) for name in os.listdir(self.path))
        except OSError:
            return False

    def info(self, name: str) -> FileInfo | None:
        """See `Place`."""
        try:
            found = os.lstat(os.path.join(self.path, name))  # noqa: PTH118  # asked hundreds of times for one step through a stack
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
        if self._is_compressed(name):
            from lamina.core.image.places.compressed import CompressedContent

            content: Content = CompressedContent(self.path / (name + COMPRESSED))
        else:
            content = PlainContent(self.path / name)
        if self._is_another():
            content.close()
            raise self._exchanged(name)
        return content

    def _is_another(self) -> bool:
        """Whether the path leads to another directory by now. Asked after a file was opened: what was opened before is not called right."""
        try:
            info = self.path.stat()
        except OSError:
            return True
        return (info.st_dev, info.st_ino) != self.key

    def _exchanged(self, name: str) -> ImageError:
        return ImageError("cannot read image", str(self.path / name), "the layer was changed or moved meanwhile", "try again")

    def _is_compressed(self, name: str) -> bool:
        """Whether the file is there in its compressed form only; while it is being compressed or expanded, there are both."""
        path = self.path / (name + COMPRESSED)
        return is_compressed_name(path.name) and os.path.lexists(path) and not os.path.lexists(self.path / name)

    def read(self, name: str, limit: int = MAX_FILE) -> bytes:
        """See `Place`."""
        if self._is_compressed(name):
            return super().read(name, limit)
        data = read_file(self.path / name, limit)
        if self._is_another():
            raise self._exchanged(name)
        return data

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
