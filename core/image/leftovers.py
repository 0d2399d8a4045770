"""What a killed lamina leaves of a layer it was writing, and how the next command removes it.

A draft is a directory `.lamina-draft` inside the directory of the layer, and its writer holds a lock on it. So a draft that can be locked
has no writer any more. If the writer died between the renames of its commit, the list of names in the draft says which files to take back.

A layer is rewritten in a directory beside it (`lamina.core.rewrite.new_directory`), also locked, which is then exchanged with it. What has
such a name is not needed: it is unfinished, or was replaced.
"""

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image import lock, unconfirmed
from lamina.core.image.renames import NEW_LINK, rename_new, settle_renames, sync_directory
from lamina.core.image.sidecar import NEW_NAME as NEW_SIDECAR

DRAFT = ".lamina-draft"
COMMITTING = ".committing"
# In a layer's directory: what is large and nobody but lamina reads.
FOLDER = "lamina"
# Beside the layers of a stack: REBUILT is a layer that is being rewritten, or the old version of one, or one that is being removed.
REBUILT = ".lamina-rewrite."
# A dropped layer is renamed to this and its name, in the same directory, so that its `parent` link stays right.
TRASH = ".lamina-trash."
# Layers being imported, complete once COMMITTING lists them: then the next command puts them where they belong.
IMPORT = ".lamina-import"
# In a layer's directory: a file that will replace another, held locked while it is written.
NEW_FILE = ".lamina-new."
# What a file of a layer can be called; a list of names is not believed beyond this.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def cannot_write(path: Path, errnum: int) -> ImageError:
    """The one error for "the layer cannot be written", from errno."""
    fixes = {
        errno.ENOSPC: "free some space or choose another file system",
        errno.EDQUOT: "free some space or raise the quota",
        errno.EROFS: "choose a directory on a writable file system",
        errno.EACCES: "choose a directory you may write to, or run lamina as root",
        errno.EPERM: "choose a directory you may write to, or run lamina as root",
        errno.EFBIG: "raise the limit on file size (ulimit -f)",
    }
    return ImageError("cannot write layer", str(path), os.strerror(errnum).lower(), fixes.get(errnum, ""))


def take_back(images_fd: int, names: list[str]) -> None:
    """Remove *names* from the directory *images_fd*, the inventory first: without it the directory is no layer."""
    for name in sorted(names, key=lambda name: name != "inventory.img"):
        _remove(name, images_fd)


def clear_draft(images_fd: int, draft_fd: int) -> None:
    """Remove the draft directory and the files in it."""
    for name in os.listdir(draft_fd):
        _remove(name, draft_fd)
    os.rmdir(DRAFT, dir_fd=images_fd)


def _remove(name: str, directory_fd: int) -> None:
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=directory_fd)
        except IsADirectoryError:
            if name == FOLDER:
                shutil.rmtree(name, dir_fd=directory_fd)


def _names_of(draft_fd: int) -> list[str]:
    try:
        fd = os.open(COMMITTING, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=draft_fd)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        words = file.read(1 << 24).decode("ascii", "replace").split("\n")
    return [word for word in words if NAME.fullmatch(word)]


def sweep(images_dir: Path) -> bool:
    """Remove what a killed lamina left in the directory of a layer. Returns whether there was anything.

    A layer that was committed is kept; one that was not is gone afterwards. What a living lamina is writing is not touched. A layer
    whose pages were sent away is committed if they arrived, removed if they did not, and stays if that is not known here.

    Raises:
        ImageError: it cannot be removed.
    """
    try:
        images_fd = os.open(images_dir, _OPEN_DIRECTORY)
    except OSError:
        return False
    try:
        for name in (NEW_SIDECAR, *(it for it in os.listdir(images_fd) if it.startswith(NEW_FILE))):
            _drop_new(images_fd, name)
        with suppress(OSError):
            os.unlink(NEW_LINK, dir_fd=images_fd)
        try:
            draft_fd = os.open(DRAFT, _OPEN_DIRECTORY, dir_fd=images_fd)
        except OSError:
            return False
        try:
            if not lock.take(draft_fd):
                return False
            names = _names_of(draft_fd)
            if names and not _committed(images_fd, draft_fd):
                sent = unconfirmed.read_from(draft_fd)
                arrived = sent.arrived() if sent else False
                if arrived is None:
                    return False
                _settle(images_fd, draft_fd, names, arrived)
            clear_draft(images_fd, draft_fd)
            os.fsync(images_fd)
        finally:
            os.close(draft_fd)
    except OSError as error:
        raise ImageError("cannot remove the leftovers of a dead lamina", str(images_dir), os.strerror(error.errno or 0)) from error
    finally:
        os.close(images_fd)
    return True


def _settle(images_fd: int, draft_fd: int, names: list[str], whole: bool) -> None:
    """Commit what is in place but for its inventory, or take it back."""
    if whole:
        os.rename("inventory.img", "inventory.img", src_dir_fd=draft_fd, dst_dir_fd=images_fd)
    else:
        take_back(images_fd, names)


def settle_unconfirmed(images_dir: Path, whole: bool) -> None:
    """The receiver has said whether it has the *whole* layer whose pages were sent to it: commit the rest of it, or remove it.

    Raises:
        ImageError: it cannot be renamed or removed.
    """
    try:
        images_fd = os.open(images_dir, _OPEN_DIRECTORY)
        try:
            draft_fd = os.open(DRAFT, _OPEN_DIRECTORY, dir_fd=images_fd)
            try:
                if lock.take(draft_fd):
                    _settle(images_fd, draft_fd, _names_of(draft_fd), whole)
                    clear_draft(images_fd, draft_fd)
                    os.fsync(images_fd)
            finally:
                os.close(draft_fd)
        finally:
            os.close(images_fd)
    except OSError as error:
        raise ImageError("cannot finish", f"layer {images_dir}", os.strerror(error.errno or 0)) from error


def _drop_new(images_fd: int, name: str) -> None:
    """Remove a file that was being written; its writer locks it for as long as it lives."""
    with suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=images_fd)
        try:
            if lock.take(fd):
                os.unlink(name, dir_fd=images_fd)
        finally:
            os.close(fd)


def _committed(images_fd: int, draft_fd: int) -> bool:
    """Whether the last rename of the commit was made: the inventory is there and no longer in the draft."""
    names = set(os.listdir(images_fd)), set(os.listdir(draft_fd))
    return "inventory.img" in names[0] and "inventory.img" not in names[1]


def sweep_whole_stack(images_dir: Path) -> None:
    """`sweep` a layer and all other layers of its stack: the first step of every command that writes there.

    Raises:
        ImageError: leftovers in *images_dir* itself cannot be removed.
    """
    directory = images_dir.resolve()
    sweep(directory)
    sweep_stack(directory.parent)


def sweep_stack(stack_dir: Path) -> list[Path]:
    """`sweep` every directory under *stack_dir* that belongs to the caller; returns those that had leftovers."""
    swept: list[Path] = []
    with suppress(OSError):
        settle_renames(stack_dir, TRASH)
    with suppress(OSError), os.scandir(stack_dir) as entries:
        for entry in entries:
            with suppress(OSError, ImageError):
                if not entry.is_dir(follow_symlinks=False):
                    continue
                path = Path(entry.path)
                if entry.name.startswith(REBUILT):
                    found = remove_rebuilt(path)  # whosever it is: root gives a rebuilt layer the owner of the old one
                elif entry.name == IMPORT:
                    found = entry.stat(follow_symlinks=False).st_uid == os.geteuid() and finish_import(path)
                else:
                    found = entry.stat(follow_symlinks=False).st_uid == os.geteuid() and sweep(path)
                if found:
                    swept.append(path)
    return swept


def finish_import(path: Path) -> bool:
    """Move the layers of an import that were complete to where they belong; remove one that was not. Returns whether its writer was gone.

    Raises:
        OSError: one of them cannot be moved; it stays.
    """
    fd = os.open(path, _OPEN_DIRECTORY)
    try:
        if not lock.take(fd):
            return False
        for name in _names_of(fd):  # ancestors first, so that a child never comes before what it needs
            with suppress(FileNotFoundError):
                rename_new(path / name, path.parent / name)
        shutil.rmtree(path)
        sync_directory(path.parent)
    finally:
        os.close(fd)
    return True


def remove_rebuilt(path: Path) -> bool:
    """Remove a directory of the name `REBUILT`… unless a living lamina is building it. Returns whether it was there and its writer gone.

    Raises:
        OSError: it cannot be removed.
    """
    fd = os.open(path, _OPEN_DIRECTORY)
    try:
        if not lock.take(fd):
            return False
        shutil.rmtree(path)
        return True
    finally:
        os.close(fd)
