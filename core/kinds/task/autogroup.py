"""The nice value of a session as a whole, where the kernel shares processors by session: /proc/PID/autogroup (sched(7)).

Kept of processes that lead their session; read and written from outside.
"""

import re

from lamina.core.objects import procfile

_FILE = "autogroup"


def read(pid: int) -> int:
    """-20 to 19; 0 where the kernel has no such thing.

    Raises:
        TargetError: the process is gone or hidden.
    """
    found = re.search(r" nice (-?\d+)$", procfile.read(pid, _FILE))
    return int(found[1]) if found else 0


def rebuild(wanted: int, pid: int) -> str:
    """From outside, when it leads its session again. "" or, if it cannot be set, a sentence."""
    if read(pid) == wanted:
        return ""
    failed = procfile.write(pid, _FILE, str(wanted))
    return f"process {pid}: the nice value of its session (autogroup) was {wanted} and cannot be set: {failed}" if failed else ""
