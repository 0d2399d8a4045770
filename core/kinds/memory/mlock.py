"""Locked memory beyond what a `vma_entry` says: mappings to come (mlockall(MCL_FUTURE)), and locks that wait for the first touch."""

import errno
import mmap
import os
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.attach.procfs import PAGE
from lamina.core.attach.scratch import PROT_ALL
from lamina.core.objects.setting import Wanted

MCL_FUTURE, MCL_ONFAULT = 2, 4
MLOCK_ONFAULT: Final = 1
_DONTNEED: Final = 4
_FIXED: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10


@dataclass(frozen=True)
class Question:
    """Calls that map a page anew and look what it is like; `answer` after the run."""

    calls: CallList
    mapped: Call
    dropped: Call
    present: DataRef

    def answer(self) -> int:
        """What mlockall(2) was told of mappings to come: 0, MCL_FUTURE, or that with MCL_ONFAULT."""
        if self.mapped.result == -errno.EAGAIN:
            return MCL_FUTURE  # beyond RLIMIT_MEMLOCK
        if self.mapped.result < 0 or self.dropped.result != -errno.EINVAL:
            return 0
        return MCL_FUTURE if self.calls.output(self.present, 1)[0] & 1 else MCL_FUTURE | MCL_ONFAULT


def ask(calls: CallList, page: int) -> Question:
    """Append the calls. *page*: address of a page of the scratch range that is otherwise unused.

    Nothing tells what a mapping to come would be like but a new mapping. It takes the place of that page: locked memory cannot be dropped
    by madvise(2), and is there untouched unless it is locked at the first touch.
    """
    present = calls.room(1)
    mapped = calls.add("mmap", page, PAGE, mmap.PROT_READ, _FIXED, -1, 0, any_result=True)
    calls.add("mincore", page, PAGE, present, any_result=True)
    dropped = calls.add("madvise", page, PAGE, _DONTNEED, any_result=True)
    calls.add("mmap", page, PAGE, PROT_ALL, _FIXED, -1, 0, any_result=True)
    return Question(calls, mapped, dropped, present)


def rebuild(flags: int, pid: int, calls: CallList) -> list[Wanted]:
    """Step 11, in the leader, when nothing more will be mapped, before a limit on locked memory is set."""
    if not flags:
        return []
    call = calls.add("mlockall", flags, any_result=True)
    return [Wanted(call, lambda result: f"process {pid}: what it maps from now on is not locked (MCL_FUTURE): {os.strerror(-result)}")]
