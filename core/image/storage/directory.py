"""A layer in a directory. Pages files may be compressed, and are read as if they were not."""

import os
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from lamina.core.errors import ImageError
from lamina.core.image.format import MAX_FILE, read_file
from lamina.core.image.storage.base import FileInfo, Storage
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.walk import Check, ignore, open_directory

COMPRESSED = ".zst"


class DirectoryStorage(Storage):
    """A directory that holds the files of a layer.

    A layer is changed by exchanging its directory for another one (`lamina.core.rewrite.one_layer`). A reader that read a map
    before that must not read pages after it, so a file of another directory than the opened one is an error. While it is held, everything
    is read below the opened directory, whatever its path is by then.
    """

    writable = True

    def __init__(self, path: Path) -> None:
        """The directory *path*; a symbolic link to one is followed.

        Raises:
            ImageError: there is no such directory.
        """
        self._fd: int | None = None
        self._check: Check = ignore
        try:
            # With links and ".." as they are: `hold` walks it.
            self._given = str(path if path.is_absolute() else Path.cwd() / path)
            self.path = path.resolve(strict=True)
            info = self.path.stat()
        except (OSError, RuntimeError, ValueError) as error:
            why = "no such directory" if isinstance(error, FileNotFoundError) else str(error)
            raise ImageError("not a layer", str(path), why) from error
        self.key = (info.st_dev, info.st_ino)

    @classmethod
    def _of(cls, fd: int, check: Check) -> "DirectoryStorage":
        """The directory that *fd* is, held."""
        storage = cls.__new__(cls)
        storage._given = os.readlink(f"/proc/self/fd/{fd}")
        storage.path = Path(storage._given)
        info = os.fstat(fd)
        storage.key = (info.st_dev, info.st_ino)
        storage._fd, storage._check = fd, check
        return storage

    def __del__(self) -> None:
        self.release()

    # -- held ------------------------------------------------------------------------------------------------------------------------

    @override
    def hold(self, check: Check) -> None:
        """Every directory on the way is passed to *check* too."""
        self.release()
        try:
            fd = open_directory(self._given, check=check)
        except OSError as error:
            raise ImageError("not a layer", str(self.path), os.strerror(error.errno or 0)) from error
        self._fd, self._check = fd, check
        info = os.fstat(fd)
        if (info.st_dev, info.st_ino) != self.key:
            self.release()
            raise self._exchanged("")

    @override
    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._check = None, ignore

    @override
    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        yield str(self.path), self.path.stat() if self._fd is None else os.fstat(self._fd)
        for name in sorted(self._listed()):
            yield str(self.path / name), self._lstat(name)

    def _listed(self) -> list[str]:
        return os.listdir(self.path if self._fd is None else self._fd)

    def _lstat(self, name: str) -> os.stat_result:
        # Without pathlib: asked hundreds of times for one step through a stack.
        return os.lstat(os.path.join(self.path, name)) if self._fd is None else os.lstat(name, dir_fd=self._fd)  # noqa: PTH118

    def _has(self, name: str) -> bool:
        try:
            self._lstat(name)
        except OSError:
            return False
        return True

    # -- read ------------------------------------------------------------------------------------------------------------------------

    @override
    def names(self) -> tuple[str, ...]:
        """A compressed file goes by the name of its content."""
        try:
            names = set(self._listed())
        except OSError as error:
            raise ImageError("cannot read", f"layer {self.path}", os.strerror(error.errno or 0)) from error
        return tuple(sorted({name.removesuffix(COMPRESSED) if is_compressed_name(name) else name for name in names}))

    @override
    def names_in(self, folder: str) -> tuple[str, ...]:
        try:
            fd = self._folder(folder)
        except OSError:
            return ()
        try:
            return tuple(sorted(f"{folder}/{name}" for name in os.listdir(fd)))
        finally:
            os.close(fd)

    def _folder(self, folder: str) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path / folder if self._fd is None else folder, flags, dir_fd=self._fd)

    @property
    @override
    def compressed(self) -> bool:
        try:
            return any(is_compressed_name(name) for name in self._listed())
        except OSError:
            return False

    @override
    def info(self, name: str) -> FileInfo | None:
        try:
            found = self._lstat(name)
            size = found.st_size
        except (OSError, ValueError):
            try:
                found = self._lstat(name + COMPRESSED)
            except (OSError, ValueError):
                return None
            if not is_compressed_name(name + COMPRESSED):
                return None
            from lamina.core.image.storage.compressed import expanded_size

            size = expanded_size(self.path / (name + COMPRESSED))
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        return FileInfo(size, found.st_blocks * 512, found.st_mtime, found.st_uid, found.st_mode, stamp)

    @override
    def open(self, name: str) -> Content:
        folder, _, inside = name.rpartition("/")
        if folder and self._fd is not None:
            return self._open_in(folder, inside)
        packed = self._is_compressed(name)
        content: Content = PlainContent(self.path / (name + COMPRESSED if packed else name), self._fd, self._check)
        if packed:
            from lamina.core.image.storage.compressed import CompressedContent

            content = CompressedContent(content, str(self.path / (name + COMPRESSED)))
        if self._is_another():
            content.close()
            raise self._exchanged(name)
        return content

    def _open_in(self, folder: str, name: str) -> Content:
        try:
            fd = self._folder(folder)
        except OSError as error:
            raise ImageError("cannot read image", str(self.path / folder / name), os.strerror(error.errno or 0)) from error
        try:
            return PlainContent(self.path / folder / name, fd, self._check)
        finally:
            os.close(fd)

    def _is_another(self) -> bool:
        """Whether the path leads to another directory by now. Asked after a file was opened: what was opened before is not called right."""
        if self._fd is not None:
            return False
        try:
            info = self.path.stat()
        except OSError:
            return True
        return (info.st_dev, info.st_ino) != self.key

    def _exchanged(self, name: str) -> ImageError:
        return ImageError("cannot read image", str(self.path / name), "the layer was changed or moved meanwhile", "try again")

    def _is_compressed(self, name: str) -> bool:
        """Whether the file is there in its compressed form only; while it is being compressed or expanded, there are both."""
        return is_compressed_name(name + COMPRESSED) and self._has(name + COMPRESSED) and not self._has(name)

    @override
    def read(self, name: str, limit: int = MAX_FILE) -> bytes:
        if self._fd is not None or self._is_compressed(name):
            return super().read(name, limit)
        data = read_file(self.path / name, limit)
        if self._is_another():
            raise self._exchanged(name)
        return data

    @override
    def link(self, name: str) -> str:
        try:
            return os.readlink(self.path / name) if self._fd is None else os.readlink(name, dir_fd=self._fd)
        except OSError as error:
            raise ImageError("cannot use layer", str(self.path), f"its `{name}` is not a symbolic link") from error

    @override
    def follow(self, link: str) -> Storage:
        """If this one is held, the other is held too."""
        if self._fd is None:
            return DirectoryStorage(self.path / link)
        try:
            return self._of(open_directory(link, self._fd, self._check), self._check)
        except (OSError, ValueError) as error:
            why = "no such directory" if isinstance(error, FileNotFoundError) else str(error)
            raise ImageError("not a layer", str(self.path / link), why) from error


def is_compressed_name(name: str) -> bool:
    """Whether a file of that name is a compressed one: only pages are ever compressed."""
    return name.startswith("pages-") and name.endswith(".img" + COMPRESSED)
