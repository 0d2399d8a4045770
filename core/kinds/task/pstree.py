"""The process tree: parents, process groups, sessions, threads ↔ `pstree_entry`.

Read and checked by `Layer.pstree`. Rebuild: step 6 makes processes, sessions and groups in the order that image/sessions.py plans; a
process is made by its parent, so there is no call here.
"""

from collections.abc import Sequence

from lamina.core.image.schema import pstree_entry
from lamina.core.objects.task_kind import CapturedTask


def save(tasks: Sequence[CapturedTask]) -> list[pstree_entry]:
    """*tasks* parents before children, the root first, whose parent is outside and written as 0."""
    entries: list[pstree_entry] = []
    for task in tasks:
        stat = task.stat
        threads = [thread.tid for thread in task.threads] or [task.pid]
        ppid = stat.ppid if entries else 0
        entries.append(pstree_entry(pid=task.pid, ppid=ppid, pgid=stat.pgrp, sid=stat.session, threads=threads))
    return entries
