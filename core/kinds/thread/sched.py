"""Scheduling of a thread: policy, static priority, nice ↔ `sched_*`; slice and clamps, which only the supplement has.

sched(7), sched_setattr(2). All are asked inside, by one call.
"""

import os
import resource
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.errors import Blocker
from lamina.core.ffi import C, check, new_error
from lamina.core.image.schema import core_entry, thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Setting
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, Machine, Stage, ThreadKind, ThreadRecord

SCHED_RESET_ON_FORK: Final = 0x40000000
_RESET_ON_FORK: Final = 1  # SCHED_FLAG_RESET_ON_FORK
_KNOWN: Final = {os.SCHED_OTHER, os.SCHED_FIFO, os.SCHED_RR, os.SCHED_BATCH, os.SCHED_IDLE}
_REAL_TIME: Final = {os.SCHED_FIFO, os.SCHED_RR}
_NICE: Final = range(-20, 20)
_NICE_OFFSET: Final = 20
"""getpriority(2) and RLIMIT_NICE count 20 - nice."""
_PRIORITIES: Final = 99
_CAP_SYS_NICE: Final = 23
_RLIMIT_NICE, _RLIMIT_RTPRIO = 13, 14
_ATTR: Final = struct.Struct("<IIQiIQQQII")  # struct sched_attr: size policy flags nice priority runtime deadline period util_min util_max
_KEEP_POLICY, _KEEP_PARAMS, _CLAMP_MIN, _CLAMP_MAX = 0x08, 0x10, 0x20, 0x40
_CLAMP_TOP: Final = 1024
_RUNTIME, _UTIL_MIN, _UTIL_MAX = 5, 8, 9


@cache
def base_slice() -> int:
    """What this kernel gives a thread that never asked for a slice, in ns; 0 before Linux 6.12, which knows none."""
    err = new_error()
    return int(check(C.lm_base_slice(err), err))


def _attributes(calls: CallList) -> Callable[[], tuple[int, ...]]:
    """The fields of the calling thread's `sched_attr`, after the run: one call answers for all kinds that ask."""
    call = next((call for call in reversed(calls.calls) if call.name == "sched_getattr"), None)
    if call is None:
        call = calls.add("sched_getattr", 0, calls.room(_ATTR.size), _ATTR.size, 0, about="read the scheduling attributes")
    room = call.args[1]
    assert isinstance(room, DataRef)
    return lambda: _ATTR.unpack(calls.output(room, _ATTR.size))


class Scheduling(ThreadKind[tuple[int, int, int]]):
    """(policy, static priority, nice)."""

    name = "scheduling"
    stage = Stage.THREAD

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """The nice value is in `sched_attr` only where the policy follows it; getpriority(2) inside the kernel answers 20 - nice."""
        attr = _attributes(calls)
        nice = calls.add("getpriority", os.PRIO_PROCESS, 0, about="read the nice value")

        def answer() -> tuple[int, int, int]:
            _, policy, flags, _, priority, *_ = attr()
            return policy | (SCHED_RESET_ON_FORK if flags & _RESET_ON_FORK else 0), priority, _NICE_OFFSET - nice.result

        return answer

    def late_blockers(self, value: tuple[int, int, int], seen: CapturedThread) -> Iterable[Blocker]:
        """SCHED_DEADLINE and what else has parameters that the format has no field for."""
        policy = value[0] & ~SCHED_RESET_ON_FORK
        if policy not in _KNOWN:
            yield Blocker(f"scheduling policy {policy}", "its parameters have no field in the image format", "use chrt(1) to change it")

    def save(self, value: tuple[int, int, int], core: core_entry) -> None:
        """All three."""
        core.thread_core.sched_policy, core.thread_core.sched_prio, core.thread_core.sched_nice = value

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """What sched_setscheduler(2) refuses."""
        thread = record.core.thread_core
        if thread.sched_nice not in _NICE:
            yield f"its nice value is {thread.sched_nice}"
        real_time = thread.sched_policy & ~SCHED_RESET_ON_FORK in _REAL_TIME
        if thread.sched_prio > _PRIORITIES or bool(thread.sched_prio) != real_time:
            yield f"its priority is {thread.sched_prio}, with the scheduling policy {thread.sched_policy}"

    def unsupported(self, record: ThreadRecord) -> Iterator[str]:
        """As `late_blockers`."""
        policy = record.core.thread_core.sched_policy
        if policy & ~SCHED_RESET_ON_FORK not in _KNOWN:
            yield f"its scheduling policy {policy} has parameters that no field of the format holds"

    def plan(self, record: ThreadRecord, machine: Machine) -> Iterable[Blocker]:
        """A better nice value or real time needs CAP_SYS_NICE, or a limit that allows it."""
        if machine.capabilities >> _CAP_SYS_NICE & 1:
            return
        thread, nice = record.core.thread_core, os.getpriority(os.PRIO_PROCESS, 0)
        if thread.sched_nice < min(nice, _NICE_OFFSET - resource.getrlimit(_RLIMIT_NICE)[0]):
            yield Blocker("scheduling", f"thread {record.tid} has the nice value {thread.sched_nice}", "run lamina with CAP_SYS_NICE")
        if thread.sched_policy & 3 in _REAL_TIME and thread.sched_prio > resource.getrlimit(_RLIMIT_RTPRIO)[0]:
            yield Blocker("scheduling", f"thread {record.tid} runs in real time", "run lamina with CAP_SYS_NICE")

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """Before the credentials: see `plan`."""
        thread = record.core.thread_core
        if thread.HasField("sched_nice"):
            calls.add("setpriority", os.PRIO_PROCESS, 0, thread.sched_nice, expect=0, about=f"set the nice value {thread.sched_nice}")
        if thread.HasField("sched_policy"):
            real_time = thread.sched_policy & ~SCHED_RESET_ON_FORK in _REAL_TIME
            parameter = calls.data(struct.pack("<i", thread.sched_prio if real_time else 0))
            calls.add("sched_setscheduler", 0, thread.sched_policy, parameter, expect=0, about="set the scheduling policy")


# -- what the format has no field for: the slice and the clamps of sched_attr ----------------------------------------------------------


class _Attribute(Setting):
    """One field of struct sched_attr."""

    field: int

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """sched_getattr of the calling thread."""
        attr = _attributes(calls)
        return lambda: self._of(*attr())

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

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """After `Scheduling.rebuild`, whose call takes the slice back to the kernel's."""
        attr = _ATTR.pack(_ATTR.size, 0, _KEEP_POLICY, core.sched_nice, 0, int(value), 0, 0, 0, 0)
        return calls.add("sched_setattr", 0, calls.data(attr), 0, any_result=True)


class UtilMin(_Attribute):
    """The least capacity that the thread wants of a processor, 0 to 1,024 (CONFIG_UCLAMP_TASK)."""

    name = "util_min"
    what = "least utilisation (uclamp)"
    default = 0
    field = _UTIL_MIN
    flag = _CLAMP_MIN

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """After `Scheduling.rebuild`."""
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
