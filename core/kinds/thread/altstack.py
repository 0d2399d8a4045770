"""Alternate signal stack of a thread: sigaltstack(2) ↔ `thread_sas_entry`."""

import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import thread_sas_entry

SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
_STACK: Final = struct.Struct("<QIxxxxQ")  # struct stack_t: ss_sp, ss_flags, ss_size


@dataclass(frozen=True)
class Question:
    """Calls that ask for the stack; `answer` after the run."""

    calls: CallList
    room: DataRef

    def answer(self) -> tuple[int, int, int]:
        """(sp, size, flags). SS_ONSTACK tells where the batch ran, not where the program was."""
        sp, flags, size = _STACK.unpack(self.calls.output(self.room, _STACK.size))
        return sp, size, flags


def ask(calls: CallList) -> Question:
    """Append the call, to be run in the thread itself."""
    room = calls.room(_STACK.size)
    calls.add("sigaltstack", 0, room, expect=0, about="read the alternate signal stack")
    return Question(calls, room)


def save(altstack: tuple[int, int, int]) -> thread_sas_entry:
    """(sp, size, flags) as a message."""
    sp, size, flags = altstack
    return thread_sas_entry(ss_sp=sp, ss_size=size, ss_flags=flags & ~SS_ONSTACK)


def rebuild(entry: thread_sas_entry, calls: CallList) -> None:
    """Step 11, in the thread itself, before its registers are put back: sigaltstack(2) refuses while running on that stack."""
    flags = entry.ss_flags & ~SS_ONSTACK
    if flags & SS_DISABLE:
        return  # a new thread has none
    stack = calls.data(_STACK.pack(entry.ss_sp, flags, entry.ss_size))
    calls.add("sigaltstack", stack, 0, expect=0, about="set the alternate signal stack")
