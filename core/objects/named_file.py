"""Files that a layer keeps as a path: open ones, executables, mapped files, working directories and roots.

The content is the user's; its size is the witness that it has not changed.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from lamina.core.errors import Blocker, ImageError
from lamina.core.image.schema import reg_file_entry
from lamina.core.objects.buildid import build_id_of
from lamina.core.objects.rawfd import ONCE, Owner, RawFd

# include/linux/major.h, drivers/char/mem.c: they have no state of their own.
SIMPLE_DEVICES: Final = frozenset({os.makedev(1, minor) for minor in (3, 5, 7, 8, 9)})
DELETED: Final = " (deleted)"


def path_of(entry: reg_file_entry) -> str:
    """The absolute path of a record. CRIU writes it with its leading slash and cuts that off when it opens the file; both are read.

    Raises:
        ImageError: not a path.
    """
    name = os.fsdecode(entry.name)
    if not name or "\0" in name:
        raise ImageError("damaged image", f"file entry {entry.id}", "its path is not a path")
    return name if name.startswith("/") else f"/{name}"


def path_blocker(path: str, dev: int, ino: int) -> str:
    """Why *path* does not lead to the file (dev, ino) any more, or ""."""
    if not path.startswith("/"):
        return "the file has no path in our mount namespace"
    try:
        found = Path(path).stat()
    except OSError as error:
        if path.endswith(DELETED) or error.errno == errno.ENOENT:
            return "the file was deleted or renamed"
        return os.strerror(error.errno or 0)
    if (found.st_dev, found.st_ino) != (dev, ino):
        return "another file has taken its name"
    return ""


def is_process_file(path: str) -> bool:
    """Whether *path* lies under /proc/PID, which exists only while that process does."""
    words = path.split("/")
    return len(words) > 3 and words[1] == "proc" and words[2].isdigit()


def reg_entry(ident: int, path: str, flags: int, pos: int, mode: int, size: int, owner: Owner | None = None) -> reg_file_entry:
    """The record of a file; its size is recorded for regular files only."""
    entry = reg_file_entry(id=ident, flags=flags & ~ONCE, pos=pos, name=os.fsencode(path), mnt_id=-1, mode=mode)
    entry.fown.CopyFrom((owner or Owner()).entry())
    if stat.S_ISREG(mode):
        entry.size = size
    return entry


def entry_of(ident: int, raw: RawFd) -> reg_file_entry:
    """The record of the file behind a descriptor."""
    return reg_entry(ident, raw.link, raw.flags, raw.pos, raw.mode, raw.size, raw.owner)


def changed(entry: reg_file_entry) -> Blocker | None:
    """Why the file of a record cannot be opened as the file it was: missing, of another type, of another size or build.

    A different content or time of the same size refuses nothing: the file system is the user's.
    """
    path = path_of(entry)
    try:
        found = Path(path).stat()
    except OSError as error:
        why = "is not there" if error.errno == errno.ENOENT else f"cannot be opened: {os.strerror(error.errno or 0)}"
        return Blocker(path, why, "put it back as it was when the layer was dumped")
    recorded = entry.mode if entry.HasField("mode") else found.st_mode
    if stat.S_IFMT(found.st_mode) != stat.S_IFMT(recorded):
        return Blocker(path, "is not the kind of file it was when the layer was dumped")
    if stat.S_ISCHR(found.st_mode) and found.st_rdev not in SIMPLE_DEVICES:
        return Blocker(path, "is a device that cannot be opened anew")
    if stat.S_ISREG(found.st_mode) and entry.HasField("size") and found.st_size != entry.size:
        why = f"has {found.st_size} bytes, and had {entry.size} when the layer was dumped"
        return Blocker(path, why, "put it back as it was when the layer was dumped")
    if entry.build_id and build_id_of(path) not in (None, tuple(entry.build_id)):
        return Blocker(path, "is another build than when the layer was dumped", "put the program's own files back")
    return None


def open_reg(reg: reg_file_entry) -> int:
    """Open the file of a record, close-on-exec, at its offset.

    Raises:
        OSError: as open(2).
        ImageError: it is no file, directory or simple device any more.
    """
    path = path_of(reg)
    # By an O_PATH descriptor first: opening a pipe or device that took the name could block or act.
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        simple = stat.S_ISCHR(found.st_mode) and found.st_rdev in SIMPLE_DEVICES
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or simple):
            raise ImageError("cannot open", path, "it is neither a file nor a directory")
        flags = reg.flags & ~ONCE
        if flags & os.O_PATH:
            return os.dup(place)
        # The link in /proc is itself one that must be followed.
        name = path if flags & os.O_NOFOLLOW else f"/proc/self/fd/{place}"
        fd = os.open(name, flags | os.O_CLOEXEC)
    finally:
        os.close(place)
    if reg.pos and not simple:
        try:
            os.lseek(fd, reg.pos, os.SEEK_SET)
        except OSError:
            os.close(fd)
            raise
    return fd
