"""Which processors a thread may run on: sched_setaffinity(2), with its cpuset taken in. The default is all that are online."""

from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Setting, list_of, mask_of
from lamina.core.objects.task_kind import Answer, Asking

_MOST: Final = 8192
"""Processors: the largest CONFIG_NR_CPUS of x86-64."""


@cache
def _processors(which: str) -> int:
    """The "online" or "possible" ones, as a mask."""
    try:
        return mask_of(Path(f"/sys/devices/system/cpu/{which}").read_text().strip())
    except OSError:
        return 0


def _mask_bytes() -> int:
    """What sched_getaffinity(2) must have room for, at least."""
    bits = _processors("possible").bit_length() or _MOST
    return (bits + 63) // 64 * 8


class Affinity(Setting):
    """A list such as "0-3,8"; "" for all."""

    name = "cpus"
    what = "CPU affinity"
    default = ""

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """sched_getaffinity of the calling thread."""
        size = _mask_bytes()
        room = calls.room(size)
        call = calls.add("sched_getaffinity", 0, size, room, any_result=True)

        def answer() -> Value | None:
            if call.result < 0:
                return None
            mask = int.from_bytes(calls.output(room, call.result), "little")
            online = _processors("online")
            return "" if mask & online == online else list_of(mask)

        return answer

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Processors that this machine has not are left out by the kernel; if it has none of them, that is an error."""
        everything = (1 << 8 * _mask_bytes()) - 1
        mask = mask_of(str(value)) & everything if value else everything
        return calls.add("sched_setaffinity", 0, _mask_bytes(), calls.data(mask.to_bytes(_mask_bytes(), "little")), any_result=True)
