"""Timers of a process: what setitimer(2), timer_create(2) and timer_settime(2) take."""

from collections.abc import Collection, Iterator
from typing import Final

from lamina.core.image.records.limits import INT_MAX, LONG_MAX, is_signal
from lamina.core.image.schema import posix_timer_entry, task_timers_entry

SIGEV_NONE, SIGEV_THREAD_ID = 1, 4
_NOTIFY: Final = (0, SIGEV_NONE, 2, SIGEV_THREAD_ID)
# CLOCK_REALTIME, MONOTONIC, the two CPU times, BOOTTIME, the two alarms, TAI: no timer can be made of the others.
CLOCKS: Final = frozenset({0, 1, 2, 3, 7, 8, 9, 11})
_MICROS, _NANOS = 1_000_000, 1_000_000_000
_CPU_CLOCKS: Final = 3


def damage(timers: task_timers_entry, tids: Collection[int]) -> Iterator[str]:
    """What is wrong with them; *tids* are the threads of the process."""
    for name in ("real", "virt", "prof"):
        entry = getattr(timers, name)
        if max(entry.isec, entry.vsec) > LONG_MAX or max(entry.iusec, entry.vusec) >= _MICROS:
            yield f"the times of its interval timer {name} are none"
    seen: set[int] = set()
    own = frozenset((0, *tids))
    for timer in timers.posix:
        yield from (f"its POSIX timer {timer.it_id} {why}" for why in _timer(timer, own, seen))
        seen.add(timer.it_id)


def _timer(timer: posix_timer_entry, own: Collection[int], seen: Collection[int]) -> Iterator[str]:
    if timer.it_id in seen or timer.it_id > INT_MAX:
        yield "is there twice, or has an id that is none"
    if max(timer.isec, timer.vsec) > LONG_MAX or max(timer.insec, timer.vnsec) >= _NANOS:
        yield "has times that are none"
    if timer.it_sigev_notify not in _NOTIFY:
        yield f"notifies by {timer.it_sigev_notify}, which is unknown"
    elif timer.it_sigev_notify != SIGEV_NONE and not is_signal(timer.si_signo):
        yield f"sends signal {timer.si_signo}, which there is not"
    if timer.it_sigev_notify == SIGEV_THREAD_ID and (not timer.notify_thread_id or timer.notify_thread_id not in own):
        yield f"signals thread {timer.notify_thread_id}, which is not in the image"
    clock = timer.clock_id - (1 << 32) if timer.clock_id >> 31 else timer.clock_id
    # Negative ones are CPU clocks: the complement of an id in all but three bits (include/linux/posix-timers_types.h).
    if clock not in CLOCKS and not (clock < 0 and clock & 3 < _CPU_CLOCKS and (~clock >> 3) in own):
        yield f"runs by clock {clock}, which is unknown or of another process"
