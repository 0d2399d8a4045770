"""POSIX timers of a task: timer_create(2) ↔ `posix_timer_entry`, with the ids they had.

A program keeps the kernel's ids, so they must come back. Linux 6.15 has PR_TIMER_CREATE_RESTORE_IDS for that. Before it, ids of a new
process count up from 0: timers that are not wanted are created and deleted in between. The calls below are right on both.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.errors import TargetError
from lamina.core.image.schema import posix_timer_entry

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4
CLOCK_MONOTONIC: Final = 1
PR_TIMER_CREATE_RESTORE_IDS: Final = 77
COUNTED_IDS: Final = 1024
"""Up to this id, gaps are filled with timers that are deleted again; beyond it, the kernel must have PR_TIMER_CREATE_RESTORE_IDS."""
_NOTIFY: Final = {"signal": SIGEV_SIGNAL, "none": SIGEV_NONE, "thread": SIGEV_THREAD}
_ITIMERSPEC: Final = struct.Struct("<qqqq")
_SIGEVENT: Final = struct.Struct("<Qiii44x")
_RECORD: Final = re.compile(
    r"ID: (?P<id>-?\d+)\nsignal: (?P<signal>-?\d+)/(?P<value>[0-9a-f]+)\n"
    r"notify: (?P<notify>\w+)/(?P<whom>pid|tid)\.(?P<target>\d+)\nClockID: (?P<clock>-?\d+)\n"
)


@dataclass(frozen=True)
class PosixTimer:
    """One timer.

    Attributes:
        id: the kernel's; clock: CLOCK_*, negative for CPU clocks of a pid; signal: 0 if it notifies nobody by one.
        notify: SIGEV_*; value: sigev_value; thread: the tid for SIGEV_THREAD_ID, else 0.
        interval, left: ns; left is 0 if not armed.
        overrun: timer_getoverrun(2) of the last signal delivered.
    """

    id: int
    clock: int
    signal: int
    notify: int
    value: int
    thread: int
    interval: int = 0
    left: int = 0
    overrun: int = 0


def read(pid: int) -> tuple[PosixTimer, ...]:
    """/proc/PID/timers: everything but the times.

    Raises:
        TargetError: no such process, or text that is not understood.
    """
    try:
        text = Path(f"/proc/{pid}/timers").read_text()
    except FileNotFoundError as error:
        raise TargetError("cannot read", f"POSIX timers of process {pid}", "it has ended, or the kernel lists none") from error
    return parse(text)


def parse(text: str) -> tuple[PosixTimer, ...]:
    """The text of /proc/PID/timers (proc_pid_timers(5)), ascending by id."""
    timers, end = [], 0
    for record in _RECORD.finditer(text):
        if record.start() != end or record["notify"] not in _NOTIFY:
            break
        end = record.end()
        by_tid = record["whom"] == "tid"
        timers.append(
            PosixTimer(
                id=int(record["id"]), clock=int(record["clock"]), signal=int(record["signal"]),
                notify=_NOTIFY[record["notify"]] | (SIGEV_THREAD_ID if by_tid else 0), value=int(record["value"], 16),
                thread=int(record["target"]) if by_tid else 0,
            )
        )  # fmt: skip
    if end != len(text):
        raise TargetError("cannot read", "POSIX timers", f"unknown text {text[end : end + 60]!r}")
    return tuple(sorted(timers, key=lambda timer: timer.id))


@dataclass(frozen=True)
class Question:
    """Calls that ask for the times; `answer` after the run."""

    calls: CallList
    timers: tuple[PosixTimer, ...]
    rooms: tuple[DataRef, ...]
    first_overrun: int

    def answer(self) -> tuple[PosixTimer, ...]:
        """The timers with their times."""
        answers = []
        for at, (timer, room) in enumerate(zip(self.timers, self.rooms, strict=True)):
            isec, insec, vsec, vnsec = _ITIMERSPEC.unpack(self.calls.output(room, _ITIMERSPEC.size))
            overrun = self.calls.calls[self.first_overrun + 2 * at].result
            answers.append(
                PosixTimer(
                    timer.id, timer.clock, timer.signal, timer.notify, timer.value, timer.thread,
                    isec * 1_000_000_000 + insec, vsec * 1_000_000_000 + vnsec, overrun,
                )
            )  # fmt: skip
        return tuple(answers)


def ask(calls: CallList, timers: Sequence[PosixTimer]) -> Question:
    """Append the calls for *timers*, as `read` gave them inside the freeze (any thread of the task will do)."""
    rooms, first = [], len(calls.calls) + 1
    for timer in timers:
        rooms.append(room := calls.room(_ITIMERSPEC.size))
        calls.add("timer_gettime", timer.id, room, expect=0, about=f"read POSIX timer {timer.id}")
        calls.add("timer_getoverrun", timer.id, about=f"read the overrun of POSIX timer {timer.id}")
    return Question(calls, tuple(timers), tuple(rooms), first)


def save(timers: Sequence[PosixTimer]) -> list[posix_timer_entry]:
    """Timers as messages."""
    entries = []
    for timer in timers:
        entry = posix_timer_entry(
            it_id=timer.id, clock_id=timer.clock & 0xFFFF_FFFF, si_signo=timer.signal, it_sigev_notify=timer.notify,
            sival_ptr=timer.value, overrun=timer.overrun, isec=timer.interval // 1_000_000_000,
            insec=timer.interval % 1_000_000_000, vsec=timer.left // 1_000_000_000, vnsec=timer.left % 1_000_000_000,
        )  # fmt: skip
        if timer.notify & SIGEV_THREAD_ID:
            entry.notify_thread_id = timer.thread
        entries.append(entry)
    return entries


def _create(calls: CallList, wanted: int, clock: int, event: DataRef) -> None:
    place = calls.data(struct.pack("<i", wanted))
    calls.add("timer_create", clock, event, place, expect=0, about=f"create POSIX timer {wanted}")


def rebuild(entries: Sequence[posix_timer_entry], calls: CallList) -> None:
    """Step 11, in the leader, after all threads exist (a timer may name one) and the saved signals are queued: they start to run at once.

    timer_settime on the wanted ids proves that the kernel gave them. The overrun count of the last signal delivered is not put back (no
    call does); that of a signal still queued is in its siginfo.
    """
    if not entries:
        return
    by_id = {entry.it_id: entry for entry in entries}
    nobody = calls.data(_SIGEVENT.pack(0, 0, SIGEV_NONE, 0))
    # EINVAL before Linux 6.15, which the gaps filled below make up for.
    calls.add("prctl", PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0, any_result=True)
    filled = max(by_id) if max(by_id) <= COUNTED_IDS else -1
    for number in sorted({*range(filled + 1), *by_id}):
        entry = by_id.get(number)
        if entry is None:
            _create(calls, number, CLOCK_MONOTONIC, nobody)
            calls.add("timer_delete", number, expect=0, about=f"free POSIX timer id {number}")
            continue
        signal = 0 if entry.it_sigev_notify == SIGEV_NONE else entry.si_signo
        event = _SIGEVENT.pack(entry.sival_ptr, signal, entry.it_sigev_notify, entry.notify_thread_id)
        clock = entry.clock_id - (1 << 32) if entry.clock_id >> 31 else entry.clock_id
        _create(calls, number, clock, calls.data(event))
    calls.add("prctl", PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0, any_result=True)
    for number, entry in by_id.items():
        times = calls.data(_ITIMERSPEC.pack(entry.isec, entry.insec, entry.vsec, entry.vnsec))
        calls.add("timer_settime", number, 0, times, 0, expect=0, about=f"set POSIX timer {number}")
