"""Scheduling of a thread: policy, static priority, nice ↔ `sched_*`, asked from outside; slice and clamps, which only the supplement has.

sched(7), sched_setattr(2).
"""

import os
import struct
from functools import cache
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.errors import Blocker, RefusedError, TargetError
from lamina.core.ffi import C, check, new_error
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Answer, Setting

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


# -- what the format has no field for: the slice and the clamps of sched_attr ----------------------------------------------------------


_ATTR: Final = struct.Struct("<IIQiIQQQII")  # struct sched_attr: size policy flags nice priority runtime deadline period util_min util_max
_KEEP_POLICY, _KEEP_PARAMS, _CLAMP_MIN, _CLAMP_MAX = 0x08, 0x10, 0x20, 0x40
_CLAMP_TOP: Final = 1024
_RUNTIME, _UTIL_MIN, _UTIL_MAX = 5, 8, 9


@cache
def base_slice() -> int:
    """What this kernel gives a thread that never asked for a slice, in ns; 0 before Linux 6.12, which knows none."""
    err = new_error()
    return int(check(C.lm_base_slice(err), err))


class _Attribute(Setting):
    """One field of struct sched_attr."""

    field: int

    def ask(self, calls: CallList) -> Answer:
        """sched_getattr of the calling thread."""
        # One call answers for all the fields.
        call = next((call for call in reversed(calls.calls) if call.name == "sched_getattr"), None)
        if call is None:
            call = calls.add("sched_getattr", 0, calls.room(_ATTR.size), _ATTR.size, 0, any_result=True)
        room = call.args[1]
        assert isinstance(room, DataRef)
        return lambda: self._of(*_ATTR.unpack(calls.output(room, _ATTR.size))) if call.result == 0 else None

    def _of(self, *attr: int) -> Value | None:
        return attr[self.field]


class Slice(_Attribute):
    """How long an EEVDF thread runs before others of its kind may (ns); 0: whatever the kernel gives. Others have none."""

    name = "slice_ns"
    what = "time slice"
    default = 0
    field = _RUNTIME

    def _of(self, *attr: int) -> Value | None:
        if attr[1] in _REAL_TIME or not base_slice():
            return None
        return 0 if attr[_RUNTIME] == base_slice() else attr[_RUNTIME]

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """After `sched.rebuild`, whose call takes the slice back to the kernel's."""
        attr = _ATTR.pack(_ATTR.size, 0, _KEEP_POLICY, core.sched_nice, 0, int(value), 0, 0, 0, 0)
        return calls.add("sched_setattr", 0, calls.data(attr), 0, any_result=True)


class UtilMin(_Attribute):
    """The least capacity that the thread wants of a processor, 0 to 1,024 (CONFIG_UCLAMP_TASK)."""

    name = "util_min"
    what = "least utilisation (uclamp)"
    default = 0
    field = _UTIL_MIN
    flag = _CLAMP_MIN

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """After `sched.rebuild`."""
        attr = _ATTR.pack(_ATTR.size, 0, _KEEP_POLICY | _KEEP_PARAMS | self.flag, 0, 0, 0, 0, 0, int(value), int(value))
        return calls.add("sched_setattr", 0, calls.data(attr), 0, any_result=True)


class UtilMax(UtilMin):
    """The most. A kernel without clamps answers 0, which no kernel with them does unless asked."""

    name = "util_max"
    what = "greatest utilisation (uclamp)"
    default = _CLAMP_TOP
    field = _UTIL_MAX
    flag = _CLAMP_MAX

    def _of(self, *attr: int) -> Value | None:
        return attr[_UTIL_MAX] or None
