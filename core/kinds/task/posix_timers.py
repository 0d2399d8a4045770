"""POSIX timers of a task: timer_create(2) ↔ `posix_timer_entry`, with the ids they had.

A program keeps the kernel's ids, so they must come back. Linux 6.15 has PR_TIMER_CREATE_RESTORE_IDS for that. Before it, ids of a new
process count up from 0: timers that are not wanted are created and deleted in between. The calls below are right on both.
"""

import re
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.ffi import C, check, new_error
from lamina.core.image.records.limits import INT_MAX, LONG_MAX, is_signal
from lamina.core.image.schema import posix_timer_entry
from lamina.core.objects.task_kind import Answer, AskingLate, Machine, Stage, TaskImages, TaskKind, TaskRecord

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4
CLOCK_MONOTONIC: Final = 1
PR_TIMER_CREATE_RESTORE_IDS: Final = 77
COUNTED_IDS: Final = 1024
"""Up to this id, gaps are filled with timers that are deleted again; beyond it, the kernel must have PR_TIMER_CREATE_RESTORE_IDS."""
_NOTIFIES: Final = (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID)
_CLOCKS: Final = frozenset({0, 1, 2, 3, 7, 8, 9, 11})
"""CLOCK_REALTIME, MONOTONIC, the two CPU times, BOOTTIME, the two alarms, TAI: no timer can be made of the others."""
_CPU_CLOCKS: Final = 3
_NANOS: Final = 1_000_000_000
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


def entries_of(timers: Sequence[PosixTimer]) -> list[posix_timer_entry]:
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


def create(entries: Sequence[posix_timer_entry], calls: CallList) -> None:
    """Append the calls that make them, with their ids.

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


def _damage(timer: posix_timer_entry, own: Collection[int], seen: Collection[int]) -> Iterator[str]:
    """*own*: 0 and the threads of the process; *seen*: ids of the timers before it."""
    if timer.it_id in seen or timer.it_id > INT_MAX:
        yield "is there twice, or has an id that is none"
    if max(timer.isec, timer.vsec) > LONG_MAX or max(timer.insec, timer.vnsec) >= _NANOS:
        yield "has times that are none"
    if timer.it_sigev_notify not in _NOTIFIES:
        yield f"notifies by {timer.it_sigev_notify}, which is unknown"
    elif timer.it_sigev_notify != SIGEV_NONE and not is_signal(timer.si_signo):
        yield f"sends signal {timer.si_signo}, which there is not"
    if timer.it_sigev_notify == SIGEV_THREAD_ID and (not timer.notify_thread_id or timer.notify_thread_id not in own):
        yield f"signals thread {timer.notify_thread_id}, which is not in the image"
    clock = timer.clock_id - (1 << 32) if timer.clock_id >> 31 else timer.clock_id
    # Negative ones are CPU clocks: the complement of an id in all but three bits (include/linux/posix-timers_types.h).
    if clock not in _CLOCKS and not (clock < 0 and clock & 3 < _CPU_CLOCKS and (~clock >> 3) in own):
        yield f"runs by clock {clock}, which is unknown or of another process"


class PosixTimers(TaskKind[tuple[PosixTimer, ...]]):
    """Timers of timer_create(2)."""

    name = "POSIX timers"
    texts = ("timers",)
    stage = Stage.CLOCKS

    def ask_late(self, calls: CallList, asking: AskingLate) -> Answer:
        """The times of those that there are in the freeze; any thread will do."""
        asked = []
        for timer in parse(asking.texts["timers"].decode()):
            room = calls.room(_ITIMERSPEC.size)
            calls.add("timer_gettime", timer.id, room, expect=0, about=f"read POSIX timer {timer.id}")
            asked.append((timer, room, calls.add("timer_getoverrun", timer.id, about=f"read the overrun of POSIX timer {timer.id}")))

        def answer() -> tuple[PosixTimer, ...]:
            found = []
            for timer, room, overrun in asked:
                isec, insec, vsec, vnsec = _ITIMERSPEC.unpack(calls.output(room, _ITIMERSPEC.size))
                interval, left = isec * _NANOS + insec, vsec * _NANOS + vnsec
                found.append(replace(timer, interval=interval, left=left, overrun=overrun.result))
            return tuple(found)

        return answer

    def save(self, value: tuple[PosixTimer, ...], images: TaskImages) -> None:
        """After the interval timers in the same record."""
        images.tc.timers.posix.extend(entries_of(value))

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """What timer_create(2) and timer_settime(2) refuse."""
        seen: set[int] = set()
        own = frozenset((0, *record.tids))
        for timer in record.tc.timers.posix:
            yield from (f"its POSIX timer {timer.it_id} {why}" for why in _damage(timer, own, seen))
            seen.add(timer.it_id)

    def plan(self, record: TaskRecord, machine: Machine) -> Iterable[Blocker]:
        """Clocks are tried here. CPU clocks of processes have negative numbers: those processes are not there yet."""
        for clock in sorted({entry.clock_id for entry in record.tc.timers.posix if not entry.clock_id >> 31}):
            err = new_error()
            try:
                check(C.lm_try_timer(clock, err), err)
            except NativeError as error:
                yield Blocker(self.name, f"{error.detail} here: {error.reason}")

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """All threads exist, which a timer may name, and the saved signals are queued: they start to run at once."""
        create(list(record.tc.timers.posix), calls)
