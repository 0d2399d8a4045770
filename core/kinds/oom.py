"""The out-of-memory badness of a task, /proc/PID/oom_score_adj ↔ `oom_score_adj`, and the audit login, /proc/PID/loginuid ↔ `loginuid`.

Both are written from outside, by whoever restores.
"""

from pathlib import Path
from typing import Final

from lamina.core.errors import TargetError
from lamina.core.image.schema import task_core_entry

UNSET_LOGIN: Final = 2**32 - 1


def _read(pid: int, name: str, absent: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/{name}").read_text())
    except FileNotFoundError:
        if Path(f"/proc/{pid}").exists():
            return absent  # a kernel without that file
        raise TargetError("no such process", str(pid)) from None
    except OSError as error:
        raise TargetError("cannot read", f"/proc/{pid}/{name}", str(error.strerror)) from error


def read(pid: int) -> tuple[int, int]:
    """(oom_score_adj, loginuid); 0 and 2**32-1 where the kernel has no such file.

    Raises:
        TargetError: the process is gone or hidden.
    """
    return _read(pid, "oom_score_adj", 0), _read(pid, "loginuid", UNSET_LOGIN)


def save(oom_score_adj: int, loginuid: int, tc: task_core_entry) -> None:
    """Into *tc*."""
    tc.oom_score_adj, tc.loginuid = oom_score_adj, loginuid


def rebuild(tc: task_core_entry, pid: int) -> list[str]:
    """From outside, any time after exec and before the switch. Returns what could not be set, as sentences: a lower badness than ours needs
    CAP_SYS_RESOURCE, and a login that is set can be changed only with CAP_AUDIT_CONTROL. Neither changes what the program does.
    """
    sentences = []
    wanted = {"oom_score_adj": tc.oom_score_adj if tc.HasField("oom_score_adj") else None}
    if tc.HasField("loginuid") and tc.loginuid != UNSET_LOGIN:
        wanted["loginuid"] = tc.loginuid
    for name, value in wanted.items():
        if value is None or _read(pid, name, value) == value:
            continue
        try:
            Path(f"/proc/{pid}/{name}").write_text(str(value))
        except OSError as error:
            sentences.append(f"process {pid}: {name} stays as ours, not {value}: {error.strerror}")
    return sentences
