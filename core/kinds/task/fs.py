"""Where a task stands in the file system: cwd, root, umask ↔ `fs_entry`."""

import os
from collections.abc import Sequence

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, TargetError
from lamina.core.image.schema import fs_entry
from lamina.core.objects.paths import PathOf, PathTable


def read(pid: int) -> tuple[str, str]:
    """(cwd, root) as paths from our root; a removed directory ends in " (deleted)".

    Raises:
        TargetError: the process is gone or hidden.
    """
    try:
        return os.readlink(f"/proc/{pid}/cwd"), os.readlink(f"/proc/{pid}/root")
    except OSError as error:
        raise TargetError("cannot read", f"working directory of process {pid}", os.strerror(error.errno or 0)) from error


def save(cwd: str, root: str, umask: int, files: PathTable) -> fs_entry:
    """As a message; *files* gives the ids."""
    return fs_entry(cwd_id=files.path(cwd), root_id=files.path(root), umask=umask)


def restore_blockers(entry: fs_entry, path_of: PathOf) -> list[Blocker]:
    """Directories that are not there now."""
    paths: Sequence[str] = (path_of(entry.cwd_id), path_of(entry.root_id))
    return [
        Blocker("directory", f"{path}, which the program worked in, does not exist", "make it again")
        for path in dict.fromkeys(paths)
        if not os.path.isdir(path)  # noqa: PTH112 -- as above
    ]


def rebuild(entry: fs_entry, path_of: PathOf, calls: CallList) -> None:
    """Step 9, in the leader, after all files of areas were opened by path (root may change here) and before `creds.rebuild`."""
    cwd, root = path_of(entry.cwd_id), path_of(entry.root_id)
    calls.add("chdir", calls.path(cwd), expect=0, about=f"enter {cwd}")
    if root != "/":
        calls.add("chroot", calls.path(root), expect=0, about=f"make {root} its root")
    if entry.HasField("umask"):
        calls.add("umask", entry.umask, any_result=True, about="set the umask")
