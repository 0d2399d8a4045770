"""Settings of a process that are one line in a file of /proc/PID: out-of-memory badness, core dump filter, autogroup, audit login.

The first three are written from outside. A file that this kernel lacks reads as b"".
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.supplement import Values
from lamina.core.objects import procfile
from lamina.core.objects.attempt import Attempt
from lamina.core.objects.task_kind import CapturedTask, Stage, TaskImages, TaskKind, TaskRecord

_OOM: Final = range(-1000, 1001)
USUAL_FILTER: Final = 0x33
"""What a kernel with CONFIG_CORE_DUMP_DEFAULT_ELF_HEADERS starts with; its boot line may say otherwise (coredump_filter=)."""
LOGIN_UNSET: Final = 2**32 - 1
_AT_FDCWD: Final = -100


class OomScore(TaskKind[int]):
    """oom_score_adj, -1,000 to 1,000."""

    name = "oom_score_adj"
    texts = ("oom_score_adj",)
    stage = Stage.OUTSIDE

    def read(self, seen: CapturedTask) -> int:
        """0 where the kernel has no such file."""
        return int(seen.texts[self.name] or 0)

    def save(self, value: int, images: TaskImages) -> None:
        """Into the task's part."""
        images.tc.oom_score_adj = value

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """The kernel's range."""
        if record.tc.oom_score_adj not in _OOM:
            yield f"its oom_score_adj is {record.tc.oom_score_adj}"

    def write(self, task: TaskRecord) -> Iterable[str]:
        """A lower badness than ours needs CAP_SYS_RESOURCE. It does not change what the program does."""
        wanted = task.tc.oom_score_adj
        if not task.tc.HasField("oom_score_adj") or int(procfile.read(task.pid, self.name) or 0) == wanted:
            return
        if failed := procfile.write(task.pid, self.name, str(wanted)):
            yield f"process {task.pid}: {self.name} stays as ours, not {wanted}: {failed}"


class CoredumpFilter(TaskKind[int | None]):
    """Which kinds of memory a core file of it has (core(5)); None on a kernel without core files."""

    name = "coredump_filter"
    texts = ("coredump_filter",)
    stage = Stage.OUTSIDE

    def read(self, seen: CapturedTask) -> int | None:
        """In hex."""
        text = seen.texts[self.name]
        return int(text, 16) if text else None

    def supplement(self, value: int | None) -> Values:
        """What is not usual."""
        return {} if value is None or value == USUAL_FILTER else {self.name: value}

    def write(self, task: TaskRecord) -> Iterable[str]:
        """Any time after exec."""
        wanted, text = int(task.kept.get(self.name, USUAL_FILTER)), procfile.read(task.pid, self.name)
        if (int(text, 16) if text else USUAL_FILTER) == wanted:
            return
        if failed := procfile.write(task.pid, self.name, f"{wanted:#x}"):
            yield f"process {task.pid}: its core dump filter was {wanted:#x} and cannot be set: {failed}"


class Autogroup(TaskKind[int]):
    """The nice value of a session as a whole, where the kernel shares processors by session (sched(7)): of processes that lead theirs."""

    name = "autogroup_nice"
    texts = ("autogroup",)
    stage = Stage.OUTSIDE

    def read(self, seen: CapturedTask) -> int:
        """-20 to 19; 0 of all others, and where the kernel has no such thing."""
        return _nice_in(seen.texts["autogroup"].decode()) if seen.stat.session == seen.pid else 0

    def supplement(self, value: int) -> Values:
        """What is not usual."""
        return {self.name: value} if value else {}

    def write(self, task: TaskRecord) -> Iterable[str]:
        """It leads its session again."""
        if self.name not in task.kept or os.getsid(task.pid) != task.pid:
            return
        wanted = int(task.kept[self.name])
        if _nice_in(procfile.read(task.pid, "autogroup")) == wanted:
            return
        if failed := procfile.write(task.pid, "autogroup", str(wanted)):
            yield f"process {task.pid}: the nice value of its session (autogroup) was {wanted} and cannot be set: {failed}"


def _nice_in(text: str) -> int:
    found = re.search(r" nice (-?\d+)$", text.strip())
    return int(found[1]) if found else 0


class LoginUid(TaskKind[int]):
    """The audit login; `LOGIN_UNSET` if there is none. Only a task itself may set it. The audit session is a count of the kernel."""

    name = "loginuid"
    texts = ("loginuid",)
    stage = Stage.MEMORY

    def read(self, seen: CapturedTask) -> int:
        """Unset also on a kernel without audit."""
        return int(seen.texts[self.name] or LOGIN_UNSET)

    def save(self, value: int, images: TaskImages) -> None:
        """Into the task's part."""
        images.tc.loginuid = value

    def rebuild(self, record: TaskRecord, calls: CallList) -> Iterable[Attempt]:
        """While it has no descriptors: the file is number 0. Threads inherit it. Before its root changes.

        A login that is set can be changed only with CAP_AUDIT_CONTROL.
        """
        pid, wanted = record.pid, record.tc.loginuid if record.tc.HasField("loginuid") else LOGIN_UNSET
        if int(procfile.read(pid, self.name) or LOGIN_UNSET) == wanted:
            return []
        text = str(wanted).encode()
        calls.add("openat", _AT_FDCWD, calls.path("/proc/self/loginuid"), os.O_WRONLY | os.O_CLOEXEC, 0, any_result=True)
        written = calls.add("write", 0, calls.data(text), len(text), any_result=True)
        calls.add("close", 0, any_result=True)
        name = "none" if wanted == LOGIN_UNSET else str(wanted)
        return [Attempt(written, lambda result: f"process {pid}: loginuid was {name} and cannot be set: {os.strerror(-result)}")]
