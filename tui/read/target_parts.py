"""The threads and the descriptors of the running target, as /proc shows them. Called in worker threads; touches nothing."""

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lamina.core.attach.procfs import read_stat, threads_of
from lamina.core.errors import TargetError

if TYPE_CHECKING:
    from lamina.core.inspect.diff.descriptors import Descriptor


# The stacks of more threads are not told apart.
_MOST_STACKS = 256


@dataclass(frozen=True)
class ThreadRow:
    """One thread.

    Attributes:
        tid, name: who it is.
        state: as in stat, "S".
        call: the system call it is in, "running", or "" where this user may not know.
        stack: its stack pointer; 0 if not known, as while it runs.
    """

    tid: int
    name: str
    state: str
    call: str
    stack: int = 0


@dataclass(frozen=True)
class DescriptorRow:
    """One open descriptor: its number, a word for its kind, and what it leads to."""

    fd: int
    kind: str
    leads_to: str


@dataclass(frozen=True)
class TargetParts:
    """Threads, the leader first, and descriptors, ascending."""

    pid: int
    threads: tuple[ThreadRow, ...] = ()
    descriptors: tuple[DescriptorRow, ...] = ()


def read_parts(pid: int) -> TargetParts:
    """The threads and descriptors of *pid* now.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    return TargetParts(pid, tuple(_threads(pid)), tuple(read_descriptors(pid)))


def _threads(pid: int) -> list[ThreadRow]:
    rows = []
    for tid in threads_of(pid):
        try:
            stat = read_stat(pid, tid)
        except TargetError:
            continue  # it ended meanwhile
        rows.append(ThreadRow(tid, stat.comm, stat.state, *_call(pid, tid)))
    return rows


def thread_stacks(pid: int) -> dict[int, int]:
    """The stack pointers of *pid*'s threads, 0 for those that run just now; without the leader, whose stack has a name already.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    return {tid: _call(pid, tid)[1] for tid in threads_of(pid)[:_MOST_STACKS] if tid != pid}


@cache
def _call_names() -> dict[int, str]:
    from ptrace.syscall import SYSCALL_NAMES

    return dict(SYSCALL_NAMES)


def _call(pid: int, tid: int) -> tuple[str, int]:
    """proc(5), /proc/PID/task/TID/syscall: number, arguments, stack pointer, instruction pointer; or "running"; or -1 and the pointers when
    it is blocked outside of a call.
    """
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall") as file:  # noqa: PTH123  (a Path per thread is slow)
            words = file.readline().split()
    except OSError:
        return "", 0
    if len(words) < 3:
        return "".join(words), 0
    number = int(words[0])
    return "stopped" if number < 0 else _call_names().get(number, f"call {number}"), int(words[-2], 16)


def read_descriptors(pid: int) -> list[DescriptorRow]:
    """The open descriptors of *pid* now, ascending, in the words that the images have for them.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    from lamina.core.inspect.diff.live_side import live_descriptors

    return [_descriptor(it) for it in live_descriptors(pid)]


def _descriptor(it: "Descriptor") -> DescriptorRow:
    kind, what = it.kind, it.what
    if kind == "socket" and what:
        kind, _, what = what.partition(" ")
        what = what.replace("0.0.0.0:", "*:").replace("[::]:", "*:").replace(" - ", " → ")
    elif kind == "pipe":
        what = "writes" if it.flags & os.O_ACCMODE == os.O_WRONLY else "reads"
    at = f"at {it.offset:,}" if it.offset else ""
    return DescriptorRow(it.fd, kind, " ".join(part for part in (what, it.detail, at) if part))


def read_hindrance(pid: int) -> str:
    """What prevents a dump now, in a few words; "" if nothing does.

    Raises:
        LaminaError: it is gone, or may not be read.
    """
    from lamina.core.dump.preflight import examine

    found = examine(pid).blockers
    if not found:
        return ""
    if not examine(pid, shell_job=True).blockers:
        return "with --shell-job, which d adds"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"cannot be dumped: {found[0].obj}: {found[0].why}{more}"
