"""How readers see the files of a layer: names, sizes and bytes, but no path to open.

So a directory, an archive and a layer with compressed pages are all read by the same code. Writers need a directory, and ask for one.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.format import MAX_FILE
from lamina.core.image.storage.content import Content
from lamina.core.image.storage.walk import Check


@dataclass(frozen=True)
class FileInfo:
    """One file of a layer, as lstat(2) would tell.

    Attributes:
        size: bytes; of a compressed file those of its content.
        disk_bytes: bytes of disk it takes; in an archive, where nobody knows, its size.
        mtime: seconds since 1970.
        uid: its owner.
        mode: type and permissions (st_mode).
        stamp: changes when the file is replaced or written.
    """

    size: int
    disk_bytes: int
    mtime: float
    uid: int
    mode: int
    stamp: tuple[int, ...] = ()

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return stat.S_ISLNK(self.mode)


class Storage(ABC):
    """Where the files of one layer are.

    Attributes:
        path: for messages. Of a directory the resolved one; in an archive ARCHIVE/NAME.
        key: what tells it from every other storage; hashable.
        writable: it is a directory, so its files may be changed.
    """

    path: Path
    key: tuple[object, ...]
    writable: bool = False

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of what is in it, ascending.

        Raises:
            ImageError: it cannot be listed.
        """

    def names_in(self, folder: str) -> tuple[str, ...]:
        """The files of one folder in it as FOLDER/NAME, ascending; none if it has no such folder."""
        return ()

    @property
    def compressed(self) -> bool:
        """Whether some of its files are compressed."""
        return False

    @abstractmethod
    def info(self, name: str) -> FileInfo | None:
        """About one file, symbolic links not followed; None if there is none of that name."""

    @abstractmethod
    def open(self, name: str) -> Content:
        """Open a regular file for reading; a symbolic link is not followed.

        Raises:
            ImageError: missing, not a regular file, or not readable.
        """

    @abstractmethod
    def link(self, name: str) -> str:
        """The text of a symbolic link.

        Raises:
            ImageError: it is none.
        """

    @abstractmethod
    def follow(self, link: str) -> "Storage":
        """The storage of the layer that the text of a `parent` link names.

        Raises:
            ImageError: there is none.
        """

    def hold(self, check: Check) -> None:
        """From now on, read everything through what is opened now, and pass all of it to *check*, which raises to refuse it.

        Raises:
            ImageError: it is not what it was when this object was made.
        """

    def release(self) -> None:
        """The end of `hold`."""

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """The directory or archive itself and all that is in it, each by a name for messages and by what lstat(2) says.

        Raises:
            ImageError: it cannot be listed.
        """
        yield from ()

    def read(self, name: str, limit: int = MAX_FILE) -> bytes:
        """All of a file of at most *limit* bytes.

        Raises:
            ImageError: as `open`, or it is larger.
        """
        with self.open(name) as content:
            if content.size > limit:
                raise ImageError("cannot read image", str(self.path / name), f"{content.size} bytes, more than the {limit} it can have")
            return content.pread(content.size, 0)
