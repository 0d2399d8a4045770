"""Whether a task adopts orphans below it: PR_SET_CHILD_SUBREAPER ↔ `child_subreaper`."""

import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import task_core_entry

PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37


@dataclass(frozen=True)
class Question:
    """The call that asks; `answer` after the run."""

    calls: CallList
    room: DataRef

    def answer(self) -> int:
        """0 or 1."""
        return int(struct.unpack("<i", self.calls.output(self.room, 4))[0])


def ask(calls: CallList) -> Question:
    """Append the call (any thread of the task will do)."""
    room = calls.room(4)
    calls.add("prctl", PR_GET_CHILD_SUBREAPER, room, 0, 0, 0, expect=0, about="read the child-subreaper flag")
    return Question(calls, room)


def save(child_subreaper: int, tc: task_core_entry) -> None:
    """Into *tc*."""
    tc.child_subreaper = bool(child_subreaper)


def rebuild(tc: task_core_entry, calls: CallList) -> None:
    """Step 9, in the leader; any time after its children were made, so that a child that dies half-built goes to our own reaper."""
    if tc.child_subreaper:
        calls.add("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, expect=0, about="make it adopt orphans")
