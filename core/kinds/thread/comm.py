"""Name of a thread (comm, at most 15 bytes): PR_SET_NAME ↔ `comm` of task and thread."""

import os
from collections.abc import Iterator
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Stat
from lamina.core.image.schema import core_entry
from lamina.core.objects.task_kind import CapturedThread, Stage, ThreadKind, ThreadRecord

_PR_SET_NAME: Final = 15
_MAX_BYTES: Final = 15


def of(core: core_entry) -> bytes:
    """The name in *core*; the leader's stands in `tc` too, and only there in older images."""
    if core.HasField("thread_core") and core.thread_core.HasField("comm"):
        return core.thread_core.comm
    return core.tc.comm


class Name(ThreadKind[bytes]):
    """It need not be text. Its file is read, since status and stat escape or wrap it."""

    name = "name"
    texts = ("comm",)
    stage = Stage.THREAD
    of_zombies = True

    def read(self, seen: CapturedThread) -> bytes:
        """Without the end of its line."""
        return seen.texts["comm"].removesuffix(b"\n")

    def save(self, value: bytes, core: core_entry) -> None:
        """The leader's is the task's, too."""
        core.thread_core.comm = value[:_MAX_BYTES]
        if core.HasField("tc"):
            core.tc.comm = value[:_MAX_BYTES]

    def save_zombie(self, stat: Stat, core: core_entry) -> None:
        """As stat has it."""
        core.tc.comm = os.fsencode(stat.comm)[:_MAX_BYTES]

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """The kernel cuts what is longer."""
        name = of(record.core)
        if len(name) > _MAX_BYTES:
            yield f"its name has {len(name)} bytes, more than {_MAX_BYTES}"

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """Any time after exec, which names the leader after its file."""
        if name := of(record.core):
            calls.add("prctl", _PR_SET_NAME, calls.path(name[:_MAX_BYTES]), 0, 0, 0, expect=0, about="set the thread's name")
