"""Where the bytes of a page come from: a layer's pages file, a mapped file, a process, or nowhere (zeros); or why there are none."""

import os
import stat
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from typing_extensions import override

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import ImageError, LaminaError, TargetError
from lamina.core.image.layer import Layer
from lamina.core.image.storage.content import Content

_ZEROS: Final = bytes(1 << 20)


class OwnerKind(StrEnum):
    """Who has the content of a page."""

    LAYER = "layer"
    FILE = "file"
    """A page of a mapped file that was never written: the file has it."""
    ZERO = "zero"
    """Anonymous memory that was never written."""
    LIVE = "live"
    """A running process."""
    ABSENT = "absent"
    """No image, as it should be: the kernel makes it, or the mapped file has it, but is no longer the same."""
    MISSING = "missing"
    """No image, though one should have it."""
    PUNCHED = "punched"
    """Nobody any more: dedup freed it."""


@dataclass(frozen=True)
class Owner:
    """Who has a page.

    Attributes:
        kind: what it is.
        name: the layer's name or the file's path, or "".
        why: why there is no content; "" if there is.
        place: the layer's directory or the file's path, or "".
    """

    kind: OwnerKind
    name: str = ""
    why: str = ""
    place: str = ""

    def __str__(self) -> str:
        if self.kind is OwnerKind.PUNCHED:
            return f"punched: {self.why}"
        if self.why:
            return f"not in the images: {self.why}"
        return f"{self.kind} {self.name}".rstrip()


class Source(ABC):
    """Gives bytes by offset. Reads may come from several threads."""

    owner: Owner

    @property
    def readable(self) -> bool:
        """Whether it has content at all."""
        return not self.owner.why

    @abstractmethod
    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill *view* with the bytes from *offset*.

        Raises:
            LaminaError: it cannot be read.
        """

    def close(self) -> None:
        """Close what it has open; it is opened again when needed."""


class LayerPages(Source):
    """The pages file of one layer."""

    def __init__(self, layer: Layer, pages_name: str) -> None:
        self.owner = Owner(OwnerKind.LAYER, layer.name, place=str(layer.directory))
        self._layer, self._name = layer, pages_name
        self._content: Content | None = None
        self._opening = threading.Lock()

    def _open(self) -> Content:
        with self._opening:
            if self._content is None:
                self._content = self._layer.open(self._name)
            return self._content

    @override
    def read_into(self, view: memoryview, offset: int) -> None:
        """A pages file that ends early is an `ImageError` that names it."""
        content = self._open()
        if offset + len(view) > content.size:
            raise ImageError(
                "truncated image", str(self._layer.file(self._name)), f"it has {content.size} bytes, its map wants more than {offset}"
            )
        if content.fd is not None:
            _read_fd(content.fd, view, offset, str(self._layer.file(self._name)))
        else:
            view[:] = content.pread(len(view), offset)

    @override
    def close(self) -> None:
        if self._content is not None:
            self._content.close()
            self._content = None


def _read_fd(fd: int, view: memoryview, offset: int, name: str) -> None:
    done = 0
    try:
        while done < len(view) and (got := os.preadv(fd, [view[done:]], offset + done)):
            done += got
    except OSError as error:
        raise ImageError("cannot read", name, os.strerror(error.errno or 0)) from error
    if done < len(view):
        raise ImageError("cannot read", name, f"it ends at {offset + done}")


class FilePages(Source):
    """A mapped file. The last page is filled up with zeros."""

    def __init__(self, path: str, opened_as: str = "", kind: OwnerKind = OwnerKind.FILE) -> None:
        """*path* is what is shown, *opened_as* what is opened, if that is another name of it."""
        self.owner = Owner(kind, path, place=path)
        self._path = opened_as or path
        self._fd = -1
        self._opening = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the file.

        Raises:
            ImageError: it cannot be opened, or is no regular file.
        """
        return os.fstat(self._open()).st_size

    def _open(self) -> int:
        with self._opening:
            if self._fd < 0:
                self._fd = _open_file(self._path, self.owner.name)
            return self._fd

    @override
    def read_into(self, view: memoryview, offset: int) -> None:
        fd = self._open()
        there = max(0, min(len(view), os.fstat(fd).st_size - offset))
        _read_fd(fd, view[:there], offset, self.owner.name)
        fill_zero(view[there:])

    @override
    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_file(path: str, name: str) -> int:
    try:
        # By an O_PATH descriptor first: opening a pipe or device that took the name could block or act.
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise ImageError("cannot read", name, "it is not a regular file")
            return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        finally:
            os.close(place)
    except OSError as error:
        raise ImageError("cannot read", name, os.strerror(error.errno or 0)) from error


class ZeroPages(Source):
    """Anonymous memory that was never written."""

    owner = Owner(OwnerKind.ZERO)

    @override
    def read_into(self, view: memoryview, offset: int) -> None:
        fill_zero(view)


def fill_zero(view: memoryview) -> None:
    """Make every byte of *view* zero."""
    for at in range(0, len(view), len(_ZEROS)):
        part = view[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]


class ProcessPages(Source):
    """The memory of a running process (/proc/PID/mem), which goes on running. Offsets are addresses."""

    owner = Owner(OwnerKind.LIVE)

    def __init__(self, pid: int) -> None:
        """Raises TargetError: there is no such process, or it may not be read."""
        self._pid = pid
        try:
            self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise TargetError("no such process", str(pid), fix="it may have ended: list the processes with `lamina ps`") from error
        except OSError as error:
            raise TargetError("may not read", f"process {pid}", os.strerror(error.errno or 0), "run lamina as root") from error

    @override
    def read_into(self, view: memoryview, offset: int) -> None:
        done = 0
        try:
            while done < len(view) and (got := os.preadv(self._fd, [view[done:]], offset + done)):
                done += got
        except OSError as error:
            why = "it was unmapped meanwhile, or is memory of a device"
            raise TargetError("cannot read", f"memory of process {self._pid} at {offset + done:#x}", why) from error
        if done < len(view):
            raise TargetError("cannot read", f"memory of process {self._pid} at {offset + done:#x}", "the process has ended")

    @override
    def close(self) -> None:
        """It stays closed: the process may be another by then."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NoPages(Source):
    """Pages whose content is not available; `owner` says why."""

    def __init__(self, kind: OwnerKind, why: str, name: str = "") -> None:
        self.owner = Owner(kind, name, why)

    def read_into(self, view: memoryview, offset: int) -> None:
        """Raises LaminaError, always."""
        raise LaminaError("cannot read", f"memory at offset {offset:#x}", str(self.owner))


def whole_pages(size: int) -> int:
    """*size* bytes up to the end of the last page."""
    return -(-size // PAGE) * PAGE
