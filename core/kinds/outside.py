"""What a frozen task shows from outside, beyond the plain readers of attach/procfs.py, as fields of `FrozenTask` and `FrozenThread`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from lamina.core.attach.procfs import parse_status, read_status_text
from lamina.core.errors import TargetError
from lamina.core.image.supplement import Value
from lamina.core.kinds.memory import mm
from lamina.core.kinds.task import autogroup, cgroups, coredump_filter, fs, loginuid, oom, rlimits
from lamina.core.kinds.thread import comm, sched


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
    looked_at: dict[str, Value] = {}
    core_filter = coredump_filter.read(pid)
    if core_filter not in (None, coredump_filter.USUAL):
        looked_at["coredump_filter"] = core_filter or 0
    try:
        if os.getsid(pid) == pid and (nice := autogroup.read(pid)):
            looked_at["autogroup_nice"] = nice
        exe = os.readlink(f"/proc/{pid}/exe")
        personality = int(Path(f"/proc/{pid}/personality").read_text(), 16)
    except OSError as error:
        raise TargetError("cannot read", f"process {pid}", f"{error.filename}: {error.strerror}", "run lamina as root") from error
    return TaskLooks(
        auxv=mm.read_auxv(pid), exe=exe, cwd=cwd, root=root, umask=int(status["Umask"], 8), limits=rlimits.read(pid),
        personality=personality, oom_score_adj=oom.read(pid), loginuid=loginuid.read(pid),
        looked_at=looked_at,
    )  # fmt: skip


@dataclass(frozen=True)
class ThreadTexts:
    """What /proc says of a thread, as it stands there: taken in the freeze, read after it.

    Attributes:
        status, groups: /proc/PID/task/TID/status and cgroup.
    """

    comm: str
    status: bytes
    groups: str
    sched: tuple[int, int, int]

    def looks(self) -> ThreadLooks:
        """As fields of `FrozenThread`."""
        status = parse_status(self.status)
        return ThreadLooks(comm=self.comm, status=status, sched=self.sched, looked_at=cgroups.kept(self.groups))


def look_at_thread(pid: int, tid: int) -> ThreadTexts:
    """Inside the freeze; about 0.03 ms.

    Raises:
        TargetError: the thread is gone or hidden.
    """
    return ThreadTexts(comm.read(pid, tid), read_status_text(pid, tid), cgroups.read_text(pid, tid), sched.read(tid))
