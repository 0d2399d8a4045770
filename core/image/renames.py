"""Atomic renames that rename(2) cannot do, and atomic replacement of links: a change of a stack appears at once or not at all."""

import os
from pathlib import Path

from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, new_error

NEW_LINK = ".lamina-parent.new"


def exchange(one: Path, other: Path) -> None:
    """Give each of two names what the other had, in one step (renameat2(2), RENAME_EXCHANGE). They may be of different types.

    Raises:
        OSError: EINVAL or ENOSYS if the file system cannot, ENOENT if one of them is missing.
    """
    err = new_error()
    _check(C.lm_rename_exchange(os.fsencode(one), os.fsencode(other), err), err, one, other)


def rename_new(old: Path, new: Path) -> None:
    """Rename *old* to *new*, replacing nothing, not even an empty directory (renameat2(2), RENAME_NOREPLACE).

    Raises:
        FileExistsError: there is something of the name *new*.
        OSError: it cannot be renamed.
    """
    err = new_error()
    _check(C.lm_rename_new(os.fsencode(old), os.fsencode(new), err), err, old, new)


def relink(directory: Path, text: str) -> None:
    """Replace the `parent` link of the layer in *directory*; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = directory / NEW_LINK
    new.unlink(missing_ok=True)
    new.symlink_to(text)
    new.replace(directory / "parent")
    sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Fsync *directory*, so that what was created, renamed and removed in it is on the disk.

    Raises:
        OSError: the disk failed.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle_renames(stack_dir: Path, hidden: str) -> None:
    """Finish or undo what a killed lamina was renaming: symbolic links between two layers' names, one of them beginning with *hidden*.

    Such a link stands in for a layer's new name while the layer's children are relinked through it (`lamina.core.rewrite.trash`); in the
    end it names itself. Afterwards the children name the layer itself, and the link is gone.

    Raises:
        OSError: a link cannot be replaced.
    """
    stack_dir = stack_dir.resolve()
    with os.scandir(stack_dir) as entries:
        links = [(entry.name, os.readlink(entry.path)) for entry in entries if entry.is_symlink()]
    links = [
        (name, text) for name, text in links if name == text or ("/" not in text and hidden in (name[: len(hidden)], text[: len(hidden)]))
    ]
    for name, text in links:
        if name != text:
            _relink_all(stack_dir, name, text)
        (stack_dir / name).unlink()
    if links:
        sync_directory(stack_dir)


def _relink_all(stack_dir: Path, name: str, text: str) -> None:
    with os.scandir(stack_dir) as entries:
        layers = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for layer in layers:
        try:
            link = os.readlink(layer / "parent")
        except OSError:
            continue
        if Path(os.path.normpath(layer / link)) == Path(os.path.normpath(stack_dir / name)):
            relink(layer, os.path.relpath(stack_dir / text, layer))


def _check(result: int, err: object, one: Path, other: Path) -> None:
    try:
        check(result, err)
    except NativeError as error:
        raise OSError(error.errnum, os.strerror(error.errnum), str(one), None, str(other)) from error
