"""Builds a new directory beside an existing one and exchanges the two in one step (renameat2(2), RENAME_EXCHANGE).

Its name begins with `lamina.core.image.leftovers.REBUILT`. Before the exchange it holds an unfinished layer, afterwards the
replaced one. Neither is needed, so the next command removes it unless its writer is alive and holds the lock.
"""

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lamina.core.errors import BusyError, ImageError
from lamina.core.image import lock
from lamina.core.image.leftovers import DRAFT, REBUILT, cannot_write, remove_rebuilt
from lamina.core.image.renames import NEW_LINK, exchange, sync_directory
from lamina.core.image.sidecar import NEW_NAME as NEW_SIDECAR

# What may lie in a layer's directory and is no part of it.
_OURS = {DRAFT, NEW_SIDECAR, NEW_LINK}


class NewDirectory:
    """Use as a context manager: leaving it without `exchange` removes it.

    Attributes:
        path: the directory being built; relative links in it mean what they mean in the directory it will replace.
        replaces: the directory it will replace.
    """

    def __init__(self, replaces: Path) -> None:
        """Make it, empty, beside the existing directory *replaces*.

        Raises:
            ImageError: it cannot be made, or the file system cannot exchange directories.
            BusyError: another process is at it.
        """
        self.replaces = replaces
        self.path = replaces.parent / f"{REBUILT}{replaces.name}"
        self._fd = -1
        try:
            self._fd = self._make()
            self._try_exchange()
        except OSError as error:
            self._remove()
            raise cannot_write(self.path, error.errno or 0) from error
        except BaseException:
            self._remove()
            raise

    def _make(self) -> int:
        for _ in range(2):
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                remove_rebuilt(self.path)
                continue
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if lock.take(fd):
                return fd
            os.close(fd)
        raise BusyError("cannot write to", str(self.path), "another process is at it", "wait for it to end")

    def _try_exchange(self) -> None:
        # The file system is asked only once both names exist, and refusing late would have cost all the copying.
        one, other = self.path / ".one", self.path / ".other"
        one.mkdir()
        other.mkdir()
        try:
            exchange(one, other)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            raise ImageError(
                "cannot rewrite", str(self.replaces), "its file system cannot exchange two directories (RENAME_EXCHANGE)",
                "copy the stack to ext4, xfs, btrfs or tmpfs",
            ) from error  # fmt: skip
        one.rmdir()
        other.rmdir()

    def __enter__(self) -> "NewDirectory":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    def carry_over(self, without: set[str]) -> None:
        """Take over the old directory except the names in *without*: files as hard links, symbolic links and directories as copies.

        Raises:
            OSError: something cannot be linked.
        """
        _link_tree(self.replaces, self.path, without | _OURS)

    def create(self, name: str, like: os.stat_result | None) -> int:
        """A new empty file, open for reading and writing, with the owner and mode of *like*, or 0600.

        Raises:
            OSError: it cannot be made.
        """
        fd = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if like is not None:
                _take_owner(fd, like)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def exchange(self) -> None:
        """Sync it, exchange it with the old directory and remove that. The caller has fsynced the files.

        Raises:
            OSError: it could not be done; the old directory is in its place as it was.
        """
        _take_owner(self._fd, self.replaces.stat())
        for directory, _, _ in os.walk(self.path):
            sync_directory(Path(directory))
        exchange(self.path, self.replaces)
        # Before the old one goes: a power cut must not bring back a directory whose files are gone.
        sync_directory(self.replaces.parent)

    def _remove(self) -> None:
        if self._fd < 0:
            return  # never ours
        with suppress(OSError):  # what stays is removed by the next command
            shutil.rmtree(self.path)
        os.close(self._fd)
        self._fd = -1


def _take_owner(fd: int, like: os.stat_result) -> None:
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))


def _link_tree(source: Path, target: Path, without: set[str]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name in without:
                continue
            new = target / entry.name
            if entry.is_symlink():
                info = entry.stat(follow_symlinks=False)
                new.symlink_to(os.readlink(entry.path))
                if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
                    os.chown(new, info.st_uid, info.st_gid, follow_symlinks=False)
            elif entry.is_dir(follow_symlinks=False):
                new.mkdir(mode=0o700)
                _link_tree(Path(entry.path), new, set())
                shutil.copystat(entry.path, new)
                info = entry.stat(follow_symlinks=False)
                if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
                    os.chown(new, info.st_uid, info.st_gid)
            else:
                os.link(entry.path, new, follow_symlinks=False)
