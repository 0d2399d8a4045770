"""The tree of tasks (pstree.img)."""

from collections.abc import Callable, Iterable
from typing import Final

from lamina.core.errors import ImageError
from lamina.core.image.schema import pstree_entry

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
