"""The tree of tasks (pstree.img), and one task (`task_core_entry`, in the core of the leader): state, limits, timers, signal actions."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from lamina.core.errors import ImageError
from lamina.core.image.format import TaskState
from lamina.core.image.records.limits import INT_MAX, LONG_MAX, SIGNALS, is_signal
from lamina.core.image.records.signals import action_damage, queue_damage
from lamina.core.image.records.threads import COMM_BYTES
from lamina.core.image.schema import posix_timer_entry, pstree_entry, task_core_entry, task_timers_entry

REGISTRATIONS: Final = 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8
"""MEMBARRIER_CMD_REGISTER_* (linux/membarrier.h)."""
_OOM: Final = range(-1000, 1001)
# Signals whose default is not to end a process (signal(7)): CHLD CONT STOP TSTP TTIN TTOU URG WINCH.
_NOT_DEADLY: Final = frozenset({17, 18, 19, 20, 21, 22, 23, 28})
_PERSONALITY: Final = 0x0FFF_FFFF
_PAGE_ZERO: Final = 0x0010_0000  # sealed since Linux 6.14 (mseal(2)): exec maps it, and nothing can take it away
PID_LIMIT: Final = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


def checked_tasks(
    entries: Iterable[pstree_entry], name: str, is_zombie: Callable[[int], bool] = lambda _pid: False
) -> tuple[pstree_entry, ...]:
    """The tasks of pstree.img, which *name* is for messages: parents before children; exactly one root; every pid once.

    *is_zombie* tells whether a process had ended when it was dumped: criu writes a zombie with one thread, whose id is 0, or in 4.1 what
    was in memory there.

    Raises:
        ImageError: it is otherwise, or a number is no pid.
    """
    tasks = tuple(entries)
    seen: set[int] = set()
    for task in tasks:
        if len(task.threads) == 1 and task.threads[0] != task.pid and (not task.threads[0] or is_zombie(task.pid)):
            task.threads[:] = [task.pid]
        threads = list(task.threads)
        if not 0 < task.pid < PID_LIMIT or not all(0 < tid < PID_LIMIT for tid in threads):
            raise ImageError("damaged image", name, f"{task.pid} is not a pid, or one of its threads is not")
        if (task.ppid not in seen) if seen else task.ppid != 0:
            raise ImageError("damaged image", name, f"task {task.pid} stands before its parent {task.ppid}")
        new = {task.pid, *threads}
        if len(new) != len(threads or [task.pid]) or new & seen or (threads and threads[0] != task.pid):
            raise ImageError("damaged image", name, f"the threads of task {task.pid} are not its own")
        seen |= new
    if not tasks:
        raise ImageError("damaged image", name, "it holds no task")
    return tasks


def damage(tc: task_core_entry, tids: Collection[int], x86: bool = True) -> Iterator[str]:
    """What is wrong with it; *tids* are its threads. *x86*: other machines may have other numbers of signals."""
    if tc.task_state not in set(TaskState):
        yield f"its state is {tc.task_state}, which is unknown"
    if len(tc.comm) > COMM_BYTES:
        yield f"its name has {len(tc.comm)} bytes, more than {COMM_BYTES}"
    if tc.personality & ~_PERSONALITY:
        yield f"its personality is {tc.personality:#x}"
    if tc.task_state == TaskState.DEAD:
        if not _is_end(tc.exit_code):
            yield f"it had ended with {tc.exit_code:#x}, which is no status of an ended process"
        return
    for number, limit in enumerate(tc.rlimits.rlimits):
        if limit.cur > limit.max:
            yield f"its limit {number} is {limit.cur}, above its hard limit {limit.max}"
    yield from timers_damage(tc.timers, tids)
    yield from queue_damage(tc.signals_s)
    if x86:
        yield from action_damage(tc.sigactions)
    if unknown := tc.membarrier_registration_mask & ~REGISTRATIONS:
        yield f"its membarrier registrations {unknown:#x} are unknown"
    if tc.oom_score_adj not in _OOM:
        yield f"its oom_score_adj is {tc.oom_score_adj}"


def _is_end(status: int) -> bool:
    """A status as wait(2) gives it: exited with a code, or ended by a signal that ends, perhaps with a core file."""
    number = status & 0x7F
    if not number:
        return not status & ~0xFF00
    return not status & ~0xFF and number <= SIGNALS and number not in _NOT_DEADLY


def unsupported(tc: task_core_entry) -> Iterator[str]:
    """What is whole and cannot be put back."""
    if tc.task_state == TaskState.STOPPED:
        yield "it was stopped, which is not supported"
    if tc.personality & _PAGE_ZERO:
        yield "its personality has page 0 mapped (MMAP_PAGE_ZERO), which is not supported"
    if any(action.compat_sigaction for action in tc.sigactions):
        yield "it has a 32-bit signal action, which is not supported"


# -- timers ---------------------------------------------------------------------------------------------------------------------------

SIGEV_NONE, SIGEV_THREAD_ID = 1, 4
_NOTIFY: Final = (0, SIGEV_NONE, 2, SIGEV_THREAD_ID)
# CLOCK_REALTIME, MONOTONIC, the two CPU times, BOOTTIME, the two alarms, TAI: no timer can be made of the others.
CLOCKS: Final = frozenset({0, 1, 2, 3, 7, 8, 9, 11})
_MICROS, _NANOS = 1_000_000, 1_000_000_000
_CPU_CLOCKS: Final = 3


def timers_damage(timers: task_timers_entry, tids: Collection[int]) -> Iterator[str]:
    """What is wrong with timers: what setitimer(2) and timer_settime(2) take. *tids* are the threads of the process."""
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
