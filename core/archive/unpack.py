"""Writes layers of an archive into a hidden directory, and moves them into the stack once they are complete and checked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from lamina.core.archive.entries import NAME, copy, pieces_of
from lamina.core.archive.progress import Work
from lamina.core.errors import BusyError, ImageError
from lamina.core.image import lock
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import COMMITTING, IMPORT, finish_import
from lamina.core.image.renames import rename_new, sync_directory

_LINK = "parent"


@contextmanager
def staging(stack: Path) -> Iterator[Path]:
    """A directory in *stack* for layers that are not there yet; removed at the end. What a killed lamina left is finished or removed first.

    Raises:
        BusyError: another process is at it.
        OSError: it cannot be made.
    """
    path = stack / IMPORT
    if os.path.lexists(path) and not finish_import(path):
        raise BusyError("cannot write to", f"stack {stack}", "another process is importing there", "wait for it to end")
    path.mkdir(mode=0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not lock.take(fd):
            raise BusyError("cannot write to", f"stack {stack}", f"{lock.holder_of(fd)} is importing there", "wait for it to end")
        yield path
    finally:
        with suppress(OSError):  # what stays is removed by the next command
            rmtree(path)
        os.close(fd)


def unpack(layer: Layer, directory: Path, parent: str | None, work: Work) -> None:
    """Write *layer*, of an archive, into the new *directory*: private to the caller, holes as holes, times kept, on the disk at the end.

    *parent* is the text of its new `parent` link.

    Raises:
        ImageError: it holds a name that no layer has, or cannot be read.
        OSError: it cannot be written.
    """
    directory.mkdir(mode=0o700)
    for name in layer.names():
        info = layer.info(name)
        if info is None or name == _LINK:
            continue
        if not info.is_file:
            raise ImageError("cannot import", str(layer.file(name)), "neither a file nor the link to the parent")
        if not NAME.fullmatch(name):
            raise ImageError("cannot import", str(layer.file(name)), "not the name of an image")
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _fill(layer, name, fd, work)
            when = round(info.mtime * 1_000_000) * 1000
            os.utime(fd, ns=(when, when))
            os.fsync(fd)
        finally:
            os.close(fd)
    if parent is not None:
        (directory / _LINK).symlink_to(parent)
    sync_directory(directory)


def _fill(layer: Layer, name: str, fd: int, work: Work) -> None:
    with layer.open(name) as content:
        os.ftruncate(fd, content.size)

        def put(data: bytes, at: int) -> None:
            done = 0
            while done < len(data):
                done += os.pwrite(fd, memoryview(data)[done:], at + done)
            work.step(done)

        copy(content, pieces_of(content), put)


def publish(staged: Path, names: list[str]) -> None:
    """Move the layers *names*, ancestors first, from *staged* to the directory it is in: all of them, or none.

    Once the list is on the disk, the next command finishes what a killed lamina began.

    Raises:
        FileExistsError: one of the names was taken meanwhile.
        OSError: they cannot be renamed.
    """
    fd = os.open(staged / COMMITTING, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, "\n".join(names).encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_directory(staged)
    stack = staged.parent
    sync_directory(stack)
    moved: list[str] = []
    try:
        for name in names:
            rename_new(staged / name, stack / name)
            moved.append(name)
        sync_directory(stack)
    except BaseException:
        (staged / COMMITTING).unlink()
        for name in reversed(moved):
            rename_new(stack / name, staged / name)
        raise
