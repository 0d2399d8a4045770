"""Landlock domains: no file, call or ptrace request shows one, but it can be told by what it forbids. A confined thread may not look at a
process outside its domain as ptrace(2) would (Documentation/userspace-api/landlock.rst, "Ptrace restrictions"), whatever the ruleset says:
kcmp(2) with a process that it could otherwise look at answers EPERM. Such a thread is refused: nobody can put it into its domain again.

What a thread may look at otherwise: a process of the same user and groups with no capability that it lacks, or any with CAP_SYS_PTRACE.
That is lamina itself, or a small process that waits meanwhile. Not seen: domains of threads that have other credentials than their process.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import read_status
from lamina.core.errors import Blocker, TargetError
from lamina.core.ffi import C
from lamina.core.objects.rawfd import KCMP_VM
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, ThreadKind

_EPERM: Final = -1
_CAP_SYS_PTRACE: Final = 1 << 19
Status = Mapping[str, str]
"""/proc/PID/status."""


def _who(status: Status) -> tuple[str, str]:
    return status["Uid"], status["Gid"]


def credentials(status: Status) -> tuple[str, str, int]:
    """What decides whom a thread may look at."""
    return *_who(status), int(status["CapPrm"], 16)


class Peers:
    """Processes that unconfined threads may look at. A context manager: those that were started end with it."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Before the freeze: have one for each of *pids*."""
        self._started: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self._ours = read_status(os.getpid())
        if C.lm_landlock_abi() <= 0:
            return
        for pid in pids:
            with suppress(TargetError):  # it ended meanwhile
                status = read_status(pid)
                if not self._may_see_us(status):
                    self._start(status)

    def _may_see_us(self, status: Status) -> bool:
        permitted, ours = int(status["CapPrm"], 16), int(self._ours["CapPrm"], 16)
        return bool(permitted & _CAP_SYS_PTRACE) or (_who(status) == _who(self._ours) and not ours & ~permitted)

    def _start(self, status: Status) -> None:
        uid, gid = int(status["Uid"].split()[0]), int(status["Gid"].split()[0])
        if _who(status) in self._started or os.geteuid() != 0 or not uid:
            return
        with suppress(OSError, subprocess.SubprocessError):
            # It ends when we do: nobody holds the other end of its pipe then.
            self._started[_who(status)] = subprocess.Popen(
                ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, user=uid, group=gid, extra_groups=(), cwd="/"
            )

    def of(self, status: Status) -> int:
        """The process that a thread with this status is asked about; 0 if there is none."""
        if C.lm_landlock_abi() <= 0:
            return 0
        if self._may_see_us(status):
            return os.getpid()
        started = self._started.get(_who(status))
        return started.pid if started and len(set(status["Uid"].split())) == len(set(status["Gid"].split())) == 1 else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._started.values():
            process.kill()
            process.communicate()
        self._started.clear()


class Landlock(ThreadKind[int | None]):
    """Whether it may look at its peer: what kcmp(2) answered; None if it has none."""

    name = "Landlock"

    def ask(self, calls: CallList, asking: Asking) -> Answer | None:
        """In the thread itself; see `Peers.of`."""
        if not asking.peer:
            return None
        call = calls.add("kcmp", asking.tid, asking.peer, KCMP_VM, 0, 0, any_result=True)
        return lambda: call.result

    def late_blockers(self, value: int | None, seen: CapturedThread) -> Iterable[Blocker]:
        """It is forbidden what its process may."""
        leader = seen.leader or seen
        if value == _EPERM and credentials(seen.status) == credentials(leader.status):
            yield Blocker("Landlock", "it has restricted itself by Landlock, which images cannot hold", "start it without that sandbox")
