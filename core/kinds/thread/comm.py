"""Name of a thread (comm, at most 15 bytes): PR_SET_NAME ↔ `comm` of task and thread."""

import os
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import TargetError
from lamina.core.image.schema import core_entry

PR_SET_NAME: Final = 15
MAX_BYTES: Final = 15


def read(pid: int, tid: int) -> str:
    """The name of one thread; status and stat escape or wrap it.

    Raises:
        TargetError: the thread is gone or hidden.
    """
    try:
        return os.fsdecode(Path(f"/proc/{pid}/task/{tid}/comm").read_bytes().removesuffix(b"\n"))
    except OSError as error:
        raise TargetError("cannot read", f"name of thread {tid}", str(error.strerror)) from error


def save(comm: str) -> bytes:
    """The name as it stands in an image; a comm need not be UTF-8."""
    return os.fsencode(comm)[:MAX_BYTES]


def of(core: core_entry) -> bytes:
    """The name in *core*; the leader's stands in `tc` too, and only there in older images."""
    if core.HasField("thread_core") and core.thread_core.HasField("comm"):
        return core.thread_core.comm
    return core.tc.comm


def rebuild(core: core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself; any time after exec, which names the leader after its file."""
    if name := of(core):
        calls.add("prctl", PR_SET_NAME, calls.path(name[:MAX_BYTES]), 0, 0, 0, expect=0, about="set the thread's name")
