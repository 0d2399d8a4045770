"""The I/O priority of a thread: ioprio_get(2). The default, class "none", follows the nice value."""

from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Answer, Setting

_WHO_PROCESS: Final = 1


class IoPriority(Setting):
    """Class << 13 | hint << 3 | level (linux/ioprio.h)."""

    name = "ioprio"
    what = "I/O priority"
    default = 0

    def ask(self, calls: CallList) -> Answer:
        """Of the calling thread."""
        call = calls.add("ioprio_get", _WHO_PROCESS, 0, any_result=True)
        return lambda: call.result if call.result >= 0 else None

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """The real-time class needs CAP_SYS_NICE: before `creds.rebuild`."""
        return calls.add("ioprio_set", _WHO_PROCESS, 0, int(value), any_result=True)
