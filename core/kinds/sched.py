"""Scheduling of a thread: policy, static priority, nice ↔ `sched_*`. Asked from outside. CPU affinity is in no field of the format."""

import os
import struct
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, RefusedError, TargetError
from lamina.core.image.schema import thread_core_entry

SCHED_RESET_ON_FORK: Final = 0x40000000
_KNOWN: Final = {os.SCHED_OTHER, os.SCHED_FIFO, os.SCHED_RR, os.SCHED_BATCH, os.SCHED_IDLE}
_REAL_TIME: Final = {os.SCHED_FIFO, os.SCHED_RR}


def read(tid: int) -> tuple[int, int, int]:
    """(policy, static priority, nice) of one thread.

    Raises:
        TargetError: no such thread. RefusedError: a policy whose parameters the format has no field for.
    """
    try:
        found = os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority, os.getpriority(os.PRIO_PROCESS, tid)
    except OSError as error:
        raise TargetError("cannot read", f"scheduling of thread {tid}", os.strerror(error.errno or 0)) from error
    if refused := blockers(found):
        raise RefusedError("cannot dump", f"thread {tid}", blockers=tuple(refused))
    return found


def blockers(sched: tuple[int, int, int]) -> list[Blocker]:
    """SCHED_DEADLINE and what else has parameters that the format has no field for."""
    policy = sched[0] & ~SCHED_RESET_ON_FORK
    if policy in _KNOWN:
        return []
    return [Blocker(f"scheduling policy {policy}", "its parameters have no field in the image format", "use chrt(1) to change it")]


def save(sched: tuple[int, int, int], core: thread_core_entry) -> None:
    """Into *core*."""
    core.sched_policy, core.sched_prio, core.sched_nice = sched


def rebuild(core: thread_core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself, before `creds.rebuild`: a better nice value or real time needs CAP_SYS_NICE."""
    if core.HasField("sched_nice"):
        calls.add("setpriority", os.PRIO_PROCESS, 0, core.sched_nice, expect=0, about=f"set the nice value {core.sched_nice}")
    if core.HasField("sched_policy"):
        real_time = core.sched_policy & ~SCHED_RESET_ON_FORK in _REAL_TIME
        parameter = calls.data(struct.pack("<i", core.sched_prio if real_time else 0))
        calls.add("sched_setscheduler", 0, core.sched_policy, parameter, expect=0, about="set the scheduling policy")
