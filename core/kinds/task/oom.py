"""The out-of-memory badness of a task: /proc/PID/oom_score_adj ↔ `oom_score_adj`. Read and written from outside."""

from lamina.core.image.schema import task_core_entry
from lamina.core.objects import procfile

_FILE = "oom_score_adj"


def read(pid: int) -> int:
    """-1,000 to 1,000; 0 where the kernel has no such file.

    Raises:
        TargetError: the process is gone or hidden.
    """
    return int(procfile.read(pid, _FILE) or 0)


def save(oom_score_adj: int, tc: task_core_entry) -> None:
    """Into *tc*."""
    tc.oom_score_adj = oom_score_adj


def rebuild(tc: task_core_entry, pid: int) -> str:
    """From outside, any time after exec and before the switch. "" or, if it cannot be set, a sentence: a lower badness than ours needs
    CAP_SYS_RESOURCE. It does not change what the program does.
    """
    wanted = tc.oom_score_adj
    if not tc.HasField("oom_score_adj") or read(pid) == wanted:
        return ""
    failed = procfile.write(pid, _FILE, str(wanted))
    return f"process {pid}: {_FILE} stays as ours, not {wanted}: {failed}" if failed else ""
