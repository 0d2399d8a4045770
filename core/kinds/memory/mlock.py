"""Locked memory beyond what a `vma_entry` says: mappings to come (mlockall(MCL_FUTURE)), and locks that wait for the first touch."""

import errno
import mmap
import os
from collections.abc import Iterable
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import PAGE
from lamina.core.attach.scratch import PROT_ALL
from lamina.core.image.supplement import Values
from lamina.core.objects.attempt import Attempt
from lamina.core.objects.task_kind import Answer, AskingLate, Stage, TaskKind, TaskRecord

MCL_FUTURE, MCL_ONFAULT = 2, 4
MLOCK_ONFAULT: Final = 1
_DONTNEED: Final = 4
_FIXED: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10


class FutureLocks(TaskKind[int]):
    """What mlockall(2) was told of mappings to come: 0, MCL_FUTURE, or that with MCL_ONFAULT."""

    name = "mlock_future"
    stage = Stage.CLOCKS

    def ask_late(self, calls: CallList, asking: AskingLate) -> Answer:
        """Map a page anew and look what it is like: nothing else tells what a mapping to come would be like.

        It takes the place of the spare page: locked memory cannot be dropped by madvise(2), and is there untouched unless it is locked at
        the first touch.
        """
        page, present = asking.spare, calls.room(1)
        mapped = calls.add("mmap", page, PAGE, mmap.PROT_READ, _FIXED, -1, 0, any_result=True)
        calls.add("mincore", page, PAGE, present, any_result=True)
        dropped = calls.add("madvise", page, PAGE, _DONTNEED, any_result=True)
        calls.add("mmap", page, PAGE, PROT_ALL, _FIXED, -1, 0, any_result=True)

        def answer() -> int:
            if mapped.result == -errno.EAGAIN:
                return MCL_FUTURE  # beyond RLIMIT_MEMLOCK
            if mapped.result < 0 or dropped.result != -errno.EINVAL:
                return 0
            return MCL_FUTURE if calls.output(present, 1)[0] & 1 else MCL_FUTURE | MCL_ONFAULT

        return answer

    def supplement(self, value: int) -> Values:
        """If it was told anything."""
        return {self.name: value} if value else {}

    def rebuild(self, record: TaskRecord, calls: CallList) -> Iterable[Attempt]:
        """When nothing more will be mapped, before a limit on locked memory is set."""
        flags, pid = int(record.kept.get(self.name, 0)), record.pid
        if not flags:
            return []
        call = calls.add("mlockall", flags, any_result=True)
        return [Attempt(call, lambda result: f"process {pid}: what it maps from now on is not locked (MCL_FUTURE): {os.strerror(-result)}")]
