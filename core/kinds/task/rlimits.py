"""Resource limits of a task: /proc/PID/limits ↔ `task_rlimits_entry`."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, TargetError
from lamina.core.image.schema import rlimit_entry, task_rlimits_entry
from lamina.core.objects.rights import CAP_SYS_RESOURCE
from lamina.core.objects.task_kind import CapturedTask, Machine, Stage, TaskImages, TaskKind, TaskRecord

INFINITY: Final = 2**64 - 1
NAMES: Final = (
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE",
    "RTPRIO", "RTTIME",
)  # fmt: skip
"""Index = RLIMIT_ number (asm-generic/resource.h)."""
_NAMES_IN_PROC: Final = (
    "Max cpu time", "Max file size", "Max data size", "Max stack size", "Max core file size", "Max resident set", "Max processes",
    "Max open files", "Max locked memory", "Max address space", "Max file locks", "Max pending signals", "Max msgqueue size",
    "Max nice priority", "Max realtime priority", "Max realtime timeout",
)  # fmt: skip
_IN_PROC: Final = {name: number for number, name in enumerate(_NAMES_IN_PROC)}
_NAME_WIDTH: Final = 26  # fs/proc/base.c prints "%-25s " before the numbers
Limits = Mapping[int, tuple[int, int]]
"""RLIMIT_ number → (soft, hard)."""


def _number(word: str) -> int:
    return INFINITY if word == "unlimited" else int(word)


def parse(text: str) -> dict[int, tuple[int, int]]:
    """The text of /proc/PID/limits.

    Raises:
        TargetError: a limit is missing in it.
    """
    found = {}
    for line in text.splitlines()[1:]:
        number = _IN_PROC.get(line[:_NAME_WIDTH].rstrip())
        if number is not None:
            soft, hard, *_ = line[_NAME_WIDTH:].split()
            found[number] = (_number(soft), _number(hard))
    if len(found) != len(NAMES):
        raise TargetError("cannot read", "resource limits", f"{len(found)} of {len(NAMES)} limits found in /proc/PID/limits")
    return found


def read(pid: int) -> dict[int, tuple[int, int]]:
    """The limits of *pid* (0: ours).

    Raises:
        TargetError: the process is gone or hidden.
    """
    try:
        return parse(Path(f"/proc/{pid or 'self'}/limits").read_text())
    except OSError as error:
        raise TargetError("cannot read", f"resource limits of process {pid}", str(error.strerror)) from error


def entry_of(limits: Limits) -> task_rlimits_entry:
    """All sixteen, by number."""
    return task_rlimits_entry(rlimits=[rlimit_entry(cur=limits[n][0], max=limits[n][1]) for n in range(len(NAMES))])


def load(entry: task_rlimits_entry) -> dict[int, tuple[int, int]]:
    """Number → (soft, hard) of those an image holds; numbers this kernel does not know are left out."""
    return {number: (limit.cur, limit.max) for number, limit in enumerate(entry.rlimits[: len(NAMES)])}


def above(entry: task_rlimits_entry, ours: Limits, raising: bool) -> list[Blocker]:
    """Hard limits above *ours*, unless we may be *raising* ours: a restored process starts with ours and can only lower them."""
    found = []
    for number, (soft, hard) in load(entry).items():
        if soft > hard:
            found.append(Blocker(f"RLIMIT_{NAMES[number]}", f"damaged: soft limit {soft} above hard limit {hard}"))
        elif NAMES[number] == "NOFILE" and hard > (most := int(Path("/proc/sys/fs/nr_open").read_text())):
            found.append(
                Blocker("RLIMIT_NOFILE", f"its hard limit was {_text(hard)}, above this system's {most}", f"sysctl fs.nr_open={hard}")
            )
        elif hard > ours[number][1] and not raising:
            why = f"its hard limit was {_text(hard)}, ours is {_text(ours[number][1])}, and raising it needs CAP_SYS_RESOURCE"
            found.append(Blocker(f"RLIMIT_{NAMES[number]}", why, "raise the limit in the shell that runs lamina, as in ulimit -H"))
    return found


def _text(value: int) -> str:
    return "unlimited" if value == INFINITY else str(value)


class ResourceLimits(TaskKind[Limits]):
    """All sixteen."""

    name = "resource limits"
    texts = ("limits",)
    stage = Stage.CLOCKS

    def read(self, seen: CapturedTask) -> Limits:
        """Of the text: prlimit(2) of another user's process needs CAP_SYS_RESOURCE."""
        return parse(seen.texts["limits"].decode())

    def save(self, value: Limits, images: TaskImages) -> None:
        """By number."""
        images.tc.rlimits.CopyFrom(entry_of(value))

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """The kernel takes none above its hard one."""
        for number, limit in enumerate(record.tc.rlimits.rlimits):
            if limit.cur > limit.max:
                yield f"its limit {number} is {limit.cur}, above its hard limit {limit.max}"

    def plan(self, record: TaskRecord, machine: Machine) -> Iterable[Blocker]:
        """What a child of lamina cannot have."""
        return above(record.tc.rlimits, read(0), bool(machine.capabilities >> CAP_SYS_RESOURCE & 1))

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """After everything that a limit could stop (mappings and PR_SET_MM_MAP, descriptors, threads, queued signals, timers, scheduling)
        and before the credentials, which may take the right to raise one. Only those that differ are set.
        """
        ours = read(record.pid)
        for number, limit in load(record.tc.rlimits).items():
            if ours[number] != limit:
                value = calls.data(limit[0].to_bytes(8, "little") + limit[1].to_bytes(8, "little"))
                about = f"set RLIMIT_{NAMES[number]} to {_text(limit[0])}, {_text(limit[1])}"
                calls.add("prlimit64", 0, number, value, 0, expect=0, about=about)
