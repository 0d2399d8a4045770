"""By how much the timers of a thread may be late, so that several can be served at once: PR_SET_TIMERSLACK.

Only the present value is seen. The one that PR_SET_TIMERSLACK with 0 goes back to is inherited at fork and can be read only by going back.
"""

from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Answer, Setting

PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
_USUAL: Final = 50_000
"""Of init (kernel/fork.c); everything inherits it."""


class TimerSlack(Setting):
    """Nanoseconds. A thread of a real-time policy has 0 and cannot have another."""

    name = "timer_slack_ns"
    what = "timer slack"
    default = _USUAL

    def ask(self, calls: CallList) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_GET_TIMERSLACK, 0, 0, 0, 0, any_result=True)
        return lambda: call.result if call.result > 0 else None

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """After `sched.rebuild`."""
        return calls.add("prctl", PR_SET_TIMERSLACK, int(value), 0, 0, 0, any_result=True)
