"""Where a task stands in the file system: cwd, root, umask ↔ `fs_entry`; and its executable, which preflight looks at with them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, TargetError
from lamina.core.objects.named_file import path_blocker
from lamina.core.objects.task_kind import CapturedTask, Machine, Stage, TaskImages, TaskKind, TaskLook, TaskRecord

_PLACES: Final = (("exe", "executable"), ("cwd", "working directory"), ("root", "root directory"))


def _place(pid: int, name: str) -> tuple[str, os.stat_result]:
    """Where a link of /proc/PID points, and what is there: of one moment, although the process may change its directory meanwhile."""
    try:
        held = os.open(f"/proc/{pid}/{name}", os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise TargetError("no such process", str(pid)) from error
    try:
        return os.readlink(f"/proc/self/fd/{held}"), os.fstat(held)
    finally:
        os.close(held)


class FileSystemPlace(TaskKind[tuple[str, str, int]]):
    """(working directory, root, umask), the first two as paths from our root; a removed one ends in " (deleted)"."""

    name = "place in the file system"
    texts = ("status",)
    links = ("cwd", "root")
    image = "fs"
    stage = Stage.PROCESS

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """Executable, working directory and root must still have their names."""
        for name, what in _PLACES:
            link, info = _place(look.pid, name)
            if why := path_blocker(link, info.st_dev, info.st_ino):
                fix = "start the program anew" if name == "exe" else "let it change to a directory that exists"
                yield Blocker(f"{what} {link}", why, fix, look.pid)

    def read(self, seen: CapturedTask) -> tuple[str, str, int]:
        """Links, and the umask of its status."""
        return seen.links["cwd"], seen.links["root"], int(seen.threads[0].status["Umask"], 8)

    def save(self, value: tuple[str, str, int], images: TaskImages) -> None:
        """Directories by the ids of their paths."""
        cwd, root, umask = value
        images.fs.cwd_id, images.fs.root_id, images.fs.umask = images.files.path(cwd), images.files.path(root), umask

    def plan(self, record: TaskRecord, machine: Machine) -> Iterable[Blocker]:
        """Directories that are not there now."""
        paths = (record.path_of(record.fs.cwd_id), record.path_of(record.fs.root_id))
        for path in dict.fromkeys(paths):
            if not Path(path).is_dir():
                yield Blocker("directory", f"{path}, which the program worked in, does not exist", "make it again")

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """After all files of areas were opened by path, since the root may change here, and before the credentials. Who shares the place of
        another (CLONE_FS) has nothing to do.
        """
        if "fs" in record.shares:
            return
        cwd, root = record.path_of(record.fs.cwd_id), record.path_of(record.fs.root_id)
        calls.add("chdir", calls.path(cwd), expect=0, about=f"enter {cwd}")
        if root != "/":
            calls.add("chroot", calls.path(root), expect=0, about=f"make {root} its root")
        if record.fs.HasField("umask"):
            calls.add("umask", record.fs.umask, any_result=True, about="set the umask")
