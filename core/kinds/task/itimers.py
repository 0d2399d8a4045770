"""Interval timers of a task: setitimer(2) ↔ `itimer_entry` ×3."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.records.limits import LONG_MAX
from lamina.core.image.schema import itimer_entry
from lamina.core.objects.task_kind import Answer, Asking, Stage, TaskImages, TaskKind, TaskRecord

WHICH: Final = ("real", "virtual", "prof")
"""Index = ITIMER_ number."""
Itimer = tuple[int, int, int, int]
"""Interval seconds and µs, what is left in seconds and µs; all 0 if not armed."""
_ITIMERVAL: Final = struct.Struct("<QQQQ")
_MICROS: Final = 1_000_000


def _entry(timer: Itimer) -> itimer_entry:
    """A periodic timer with nothing left has expired, and its signal is still queued: the kernel starts it again only when that is taken
    (kernel/signal.c, dequeue_signal). setitimer(2) would take nothing left for "off", so the next expiry is set one interval away.
    """
    interval, left = timer[:2], timer[2:]
    if any(interval) and not any(left):
        left = interval
    return itimer_entry(isec=interval[0], iusec=interval[1], vsec=left[0], vusec=left[1])


class IntervalTimers(TaskKind[Sequence[Itimer]]):
    """Real, virtual, prof."""

    name = "interval timers"
    stage = Stage.CLOCKS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Any thread will do."""
        rooms = []
        for number, name in enumerate(WHICH):
            rooms.append(room := calls.room(_ITIMERVAL.size))
            calls.add("getitimer", number, room, expect=0, about=f"read the {name} interval timer")
        return lambda: tuple(_ITIMERVAL.unpack(calls.output(room, _ITIMERVAL.size)) for room in rooms)

    def save(self, value: Sequence[Itimer], images: TaskImages) -> None:
        """The head of its timers."""
        for field, timer in zip(("real", "virt", "prof"), value, strict=True):
            getattr(images.tc.timers, field).CopyFrom(_entry(timer))

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """What setitimer(2) refuses."""
        for name in ("real", "virt", "prof"):
            entry = getattr(record.tc.timers, name)
            if max(entry.isec, entry.vsec) > LONG_MAX or max(entry.iusec, entry.vusec) >= _MICROS:
                yield f"the times of its interval timer {name} are none"

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """As late as can be: they start to run at once."""
        timers = record.tc.timers
        for number, entry in enumerate((timers.real, timers.virt, timers.prof)):
            if entry.vsec or entry.vusec:
                value = calls.data(_ITIMERVAL.pack(entry.isec, entry.iusec, entry.vsec, entry.vusec))
                calls.add("setitimer", number, value, 0, expect=0, about=f"set the {WHICH[number]} interval timer")
