"""The audit login of a task: /proc/PID/loginuid ↔ `loginuid`. Only a task itself may set it. The audit session is a count of the kernel."""

import os
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import task_core_entry
from lamina.core.objects import procfile
from lamina.core.objects.setting import Wanted

UNSET: Final = 2**32 - 1
_AT_FDCWD: Final = -100


def read(pid: int) -> int:
    """The user id, or `UNSET`, also on a kernel without audit.

    Raises:
        TargetError: the process is gone or hidden.
    """
    return int(procfile.read(pid, "loginuid") or UNSET)


def save(loginuid: int, tc: task_core_entry) -> None:
    """Into *tc*."""
    tc.loginuid = loginuid


def rebuild(tc: task_core_entry, pid: int, calls: CallList) -> list[Wanted]:
    """Step 9, in the leader, while it has no descriptors: the file is number 0. Threads inherit it. Before `fs.rebuild` changes the root.

    A login that is set can be changed only with CAP_AUDIT_CONTROL.
    """
    wanted = tc.loginuid if tc.HasField("loginuid") else UNSET
    if read(pid) == wanted:
        return []
    text = str(wanted).encode()
    calls.add("openat", _AT_FDCWD, calls.path("/proc/self/loginuid"), os.O_WRONLY | os.O_CLOEXEC, 0, any_result=True)
    written = calls.add("write", 0, calls.data(text), len(text), any_result=True)
    calls.add("close", 0, any_result=True)
    name = "none" if wanted == UNSET else str(wanted)
    return [Wanted(written, lambda result: f"process {pid}: loginuid was {name} and cannot be set: {os.strerror(-result)}")]
