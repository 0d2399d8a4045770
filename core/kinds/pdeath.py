"""The signal a thread gets when its parent ends: PR_SET_PDEATHSIG ↔ `pdeath_sig`."""

import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import thread_core_entry

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2


@dataclass(frozen=True)
class Question:
    """The call that asks; `answer` after the run."""

    calls: CallList
    room: DataRef

    def answer(self) -> int:
        """Signal number, 0 if none."""
        return int(struct.unpack("<i", self.calls.output(self.room, 4))[0])


def ask(calls: CallList) -> Question:
    """Append the call, to be run in the thread itself."""
    room = calls.room(4)
    calls.add("prctl", PR_GET_PDEATHSIG, room, 0, 0, 0, expect=0, about="read the parent-death signal")
    return Question(calls, room)


def save(signal: int, core: thread_core_entry) -> None:
    """Into *core*, if there is one."""
    if signal:
        core.pdeath_sig = signal


def rebuild(core: thread_core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself, after `creds.rebuild`: a change of credentials clears it."""
    if core.pdeath_sig:
        calls.add("prctl", PR_SET_PDEATHSIG, core.pdeath_sig, 0, 0, 0, expect=0, about="set the parent-death signal")
