"""The tree of tasks (pstree.img), and one task (`task_core_entry`, in the core of the leader): state, limits, timers, signal actions."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from lamina.core.errors import ImageError
from lamina.core.image.format import TaskState
from lamina.core.image.records import timers
from lamina.core.image.records.limits import SIGNALS
from lamina.core.image.records.signals import action_damage, queue_damage
from lamina.core.image.records.threads import COMM_BYTES
from lamina.core.image.schema import pstree_entry, task_core_entry

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
    yield from timers.damage(tc.timers, tids)
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
