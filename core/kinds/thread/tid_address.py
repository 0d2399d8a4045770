"""The address the kernel clears and wakes when a thread ends: set_tid_address(2), which pthread_join waits on ↔ `clear_tid_addr`."""

import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import core_entry

PR_GET_TID_ADDRESS: Final = 40


@dataclass(frozen=True)
class Question:
    """The call that asks; `answer` after the run."""

    calls: CallList
    room: DataRef

    def answer(self) -> int:
        """The address, 0 if none."""
        return int(struct.unpack("<Q", self.calls.output(self.room, 8))[0])


def ask(calls: CallList) -> Question:
    """Append the call, to be run in the thread itself (needs CONFIG_CHECKPOINT_RESTORE)."""
    room = calls.room(8)
    calls.add("prctl", PR_GET_TID_ADDRESS, room, 0, 0, 0, expect=0, about="read the clear-tid address")
    return Question(calls, room)


def rebuild(core: core_entry, tid: int, calls: CallList) -> None:
    """Step 11, in the thread itself; any time before it runs. The answer, its id, proves that the thread is the one meant."""
    calls.add("set_tid_address", core.thread_info.clear_tid_addr, expect=tid, about="set the clear-tid address")
