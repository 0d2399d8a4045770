"""What a frozen task shows from outside, beyond the plain readers of attach/procfs.py, as fields of `FrozenTask` and `FrozenThread`."""

import os
from pathlib import Path
from typing import TypedDict

from lamina.core.attach.procfs import read_status
from lamina.core.errors import TargetError
from lamina.core.image.supplement import Value
from lamina.core.kinds import cgroups, comm, coredump_filter, fs, loginuid, mm, oom, rlimits, sched


class TaskLooks(TypedDict):
    """Fields of `FrozenTask`."""

    auxv: bytes
    exe: str
    cwd: str
    root: str
    umask: int
    limits: dict[int, tuple[int, int]]
    personality: int
    oom_score_adj: int
    loginuid: int
    looked_at: dict[str, Value]


class ThreadLooks(TypedDict):
    """Fields of `FrozenThread`."""

    comm: str
    status: dict[str, str]
    sched: tuple[int, int, int]
    looked_at: dict[str, Value]


def look_at_task(pid: int, status: dict[str, str]) -> TaskLooks:
    """Inside the freeze; about 0.2 ms. *status* is `read_status(pid)`.

    Raises:
        TargetError: the process is gone or hidden.
    """
    cwd, root = fs.read(pid)
    core_filter = coredump_filter.read(pid)
    try:
        exe = os.readlink(f"/proc/{pid}/exe")
        personality = int(Path(f"/proc/{pid}/personality").read_text(), 16)
    except OSError as error:
        raise TargetError("cannot read", f"process {pid}", f"{error.filename}: {error.strerror}", "run lamina as root") from error
    return TaskLooks(
        auxv=mm.read_auxv(pid), exe=exe, cwd=cwd, root=root, umask=int(status["Umask"], 8), limits=rlimits.read(pid),
        personality=personality, oom_score_adj=oom.read(pid), loginuid=loginuid.read(pid),
        looked_at={} if core_filter is None or core_filter == coredump_filter.USUAL else {"coredump_filter": core_filter},
    )  # fmt: skip


def look_at_thread(pid: int, tid: int) -> ThreadLooks:
    """Inside the freeze; about 0.05 ms.

    Raises:
        TargetError: the thread is gone or hidden.
    """
    return ThreadLooks(comm=comm.read(pid, tid), status=read_status(pid, tid), sched=sched.read(tid), looked_at=cgroups.read(pid, tid))
