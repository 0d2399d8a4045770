"""Small settings of a thread, one call each to ask and to set: I/O priority, timer slack, machine checks, speculation.

See `objects/setting.py` for what they have in common.
"""

from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Setting
from lamina.core.objects.task_kind import Answer, Asking

_WHO_PROCESS: Final = 1
PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
_USUAL_SLACK: Final = 50_000
"""Of init (kernel/fork.c); everything inherits it."""
PR_MCE_KILL, PR_MCE_KILL_GET = 33, 34
_MCE_CLEAR, _MCE_SET, _MCE_DEFAULT = 0, 1, 2
PR_GET_SPECULATION_CTRL, PR_SET_SPECULATION_CTRL = 52, 53
_PRCTL, _ENABLE, _DISABLE = 1, 2, 4
_STATE: Final = 0x1E
"""PR_SPEC_ENABLE, DISABLE, FORCE_DISABLE, DISABLE_NOEXEC."""


class IoPriority(Setting):
    """Class << 13 | hint << 3 | level (linux/ioprio.h). The default, class "none", follows the nice value."""

    name = "ioprio"
    what = "I/O priority"
    default = 0

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """ioprio_get(2) of the calling thread."""
        call = calls.add("ioprio_get", _WHO_PROCESS, 0, any_result=True)
        return lambda: call.result if call.result >= 0 else None

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """The real-time class needs CAP_SYS_NICE."""
        return calls.add("ioprio_set", _WHO_PROCESS, 0, int(value), any_result=True)


class TimerSlack(Setting):
    """By how many nanoseconds its timers may be late, so that several can be served at once: PR_SET_TIMERSLACK.

    A thread of a real-time policy has 0 and cannot have another. Only the present value is seen: the one that PR_SET_TIMERSLACK with 0 goes
    back to is inherited at fork and can be read only by going back.
    """

    name = "timer_slack_ns"
    what = "timer slack"
    default = _USUAL_SLACK

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_GET_TIMERSLACK, 0, 0, 0, 0, any_result=True)
        return lambda: call.result if call.result > 0 else None

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """The scheduling policy is its own by now."""
        return calls.add("prctl", PR_SET_TIMERSLACK, int(value), 0, 0, 0, any_result=True)


class MachineChecks(Setting):
    """What it gets for memory that the machine finds broken: PR_MCE_KILL_LATE (0), EARLY (1) or DEFAULT (2), which is the sysctl
    vm.memory_failure_early_kill.
    """

    name = "mce_kill"
    what = "machine-check policy (PR_MCE_KILL)"
    default = _MCE_DEFAULT

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_MCE_KILL_GET, 0, 0, 0, 0, any_result=True)
        return lambda: call.result if call.result >= 0 else None

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Needs no right."""
        how = (_MCE_CLEAR, 0) if value == _MCE_DEFAULT else (_MCE_SET, int(value))
        return calls.add("prctl", PR_MCE_KILL, *how, 0, 0, any_result=True)


class Speculation(Setting):
    """What the processor may guess in it: PR_SET_SPECULATION_CTRL, one setting a kind (Documentation/userspace-api/spec_ctrl.rst).

    A PR_SPEC_ state, where threads may choose one; None where the machine or its boot line has chosen for all.
    """

    def __init__(self, name: str, number: int, what: str, default: int = _ENABLE) -> None:
        self.name, self.what, self.default = name, what, default
        self._number = number

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_GET_SPECULATION_CTRL, self._number, 0, 0, 0, any_result=True)
        return lambda: call.result & _STATE if call.result > 0 and call.result & _PRCTL else None

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Whoever has FORCE_DISABLE cannot go back, lamina's children neither."""
        return calls.add("prctl", PR_SET_SPECULATION_CTRL, self._number, int(value), 0, 0, any_result=True)


STORE_BYPASS: Final = Speculation("spec_store_bypass", 0, "speculation control of store bypass")
INDIRECT_BRANCH: Final = Speculation("spec_indirect_branch", 1, "speculation control of indirect branches")
L1D_FLUSH: Final = Speculation("spec_l1d_flush", 2, "flushing of the L1D cache", default=_DISABLE)
