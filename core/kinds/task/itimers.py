"""Interval timers of a task: setitimer(2) ↔ `itimer_entry` ×3."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import itimer_entry, task_timers_entry

WHICH: Final = ("real", "virtual", "prof")
"""Index = ITIMER_ number."""
Itimer = tuple[int, int, int, int]
"""Interval seconds and µs, what is left in seconds and µs; all 0 if not armed."""
_ITIMERVAL: Final = struct.Struct("<QQQQ")
_IDLE: Final[Itimer] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Question:
    """Calls that ask for the three; `answer` after the run."""

    calls: CallList
    rooms: tuple[DataRef, ...]

    def answer(self) -> tuple[Itimer, ...]:
        """Real, virtual, prof."""
        return tuple(_ITIMERVAL.unpack(self.calls.output(room, _ITIMERVAL.size)) for room in self.rooms)


def ask(calls: CallList) -> Question:
    """Append the calls (any thread of the task will do)."""
    rooms = []
    for number, name in enumerate(WHICH):
        rooms.append(room := calls.room(_ITIMERVAL.size))
        calls.add("getitimer", number, room, expect=0, about=f"read the {name} interval timer")
    return Question(calls, tuple(rooms))


def _entry(timer: Itimer) -> itimer_entry:
    """A periodic timer with nothing left has expired, and its signal is still queued: the kernel starts it again only when that is taken
    (kernel/signal.c, dequeue_signal). setitimer(2) would take nothing left for "off", so the next expiry is set one interval away.
    """
    interval, left = timer[:2], timer[2:]
    if any(interval) and not any(left):
        left = interval
    return itimer_entry(isec=interval[0], iusec=interval[1], vsec=left[0], vusec=left[1])


def save(timers: Sequence[Itimer]) -> task_timers_entry:
    """The three as the head of a task's timers; kinds/posix_timers.py adds its own."""
    real, virtual, prof = (*timers, *[_IDLE] * (3 - len(timers)))
    return task_timers_entry(real=_entry(real), virt=_entry(virtual), prof=_entry(prof))


def rebuild(timers: task_timers_entry, calls: CallList) -> None:
    """Step 11, in the leader, the very last calls before credentials: they start to run at once."""
    for number, entry in enumerate((timers.real, timers.virt, timers.prof)):
        if entry.vsec or entry.vusec:
            value = calls.data(_ITIMERVAL.pack(entry.isec, entry.iusec, entry.vsec, entry.vusec))
            calls.add("setitimer", number, value, 0, expect=0, about=f"set the {WHICH[number]} interval timer")
