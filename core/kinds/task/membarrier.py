"""Which membarrier(2) commands a task has registered for ↔ `membarrier_registration_mask`. Unregistered ones would fail with EPERM."""

from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import task_core_entry

GET_REGISTRATIONS: Final = 1 << 9
REGISTRATIONS: Final = (1 << 2, 1 << 4, 1 << 6, 1 << 8)
"""Global expedited, private expedited, the same with core serialisation, the same with rseq (linux/membarrier.h)."""


@dataclass(frozen=True)
class Question:
    """The call that asks; `answer` after the run."""

    call: Call

    def answer(self) -> int:
        """MEMBARRIER_CMD_REGISTER_* bits; 0 on a kernel before 6.3, which cannot tell."""
        return max(self.call.result, 0)


def ask(calls: CallList) -> Question:
    """Append the call (any thread of the task will do)."""
    return Question(calls.add("membarrier", GET_REGISTRATIONS, 0, 0, any_result=True))


def save(mask: int, tc: task_core_entry) -> None:
    """Into *tc*, if there is one."""
    if mask:
        tc.membarrier_registration_mask = mask


def rebuild(tc: task_core_entry, calls: CallList) -> None:
    """Step 9, in the leader, before threads are made: registering a task of one thread is cheap, of many it waits for every processor."""
    for command in REGISTRATIONS:
        if tc.membarrier_registration_mask & command:
            calls.add("membarrier", command, 0, 0, expect=0, about=f"register for membarrier command {command:#x}")
