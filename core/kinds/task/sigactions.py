"""Signal actions of a task: `struct kernel_sigaction` ↔ `sa_entry`."""

import signal
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.image.schema import sa_entry

SIGNALS: Final = tuple(number for number in range(1, 65) if number not in (9, 19))
"""Every signal that has an action to set: all but SIGKILL and SIGSTOP. The order of the list in a core."""
SIGSET_BYTES: Final = 8
_SA_NOCLDWAIT: Final = 2
_ACTION: Final = struct.Struct("<QQQQ")  # handler, flags, restorer, mask


@dataclass(frozen=True)
class Question:
    """Calls that ask for all actions; `answer` after the run."""

    calls: CallList
    rooms: tuple[DataRef, ...]

    def answer(self) -> dict[int, bytes]:
        """Signal number → 32 bytes."""
        return {number: self.calls.output(room, _ACTION.size) for number, room in zip(SIGNALS, self.rooms, strict=True)}


def ask(calls: CallList) -> Question:
    """Append the calls that read every action (any thread of the task will do: they are the task's)."""
    rooms = []
    for number in SIGNALS:
        rooms.append(room := calls.room(_ACTION.size))
        calls.add("rt_sigaction", number, 0, room, SIGSET_BYTES, expect=0, about=f"read the action of signal {number}")
    return Question(calls, tuple(rooms))


def reaps_unseen(actions: Mapping[int, bytes]) -> bool:
    """Whether children of the task are reaped without a wait(2) of its: SIGCHLD ignored, or SA_NOCLDWAIT (sigaction(2))."""
    handler, flags, _, _ = _ACTION.unpack(actions[signal.SIGCHLD])
    return bool(handler == signal.SIG_IGN or flags & _SA_NOCLDWAIT)


def save(actions: Mapping[int, bytes]) -> list[sa_entry]:
    """All 62 actions in the order of the signal numbers."""
    entries = []
    for number in SIGNALS:
        handler, flags, restorer, mask = _ACTION.unpack(actions[number])
        entries.append(sa_entry(sigaction=handler, flags=flags, restorer=restorer, mask=mask))
    return entries


def rebuild(entries: Sequence[sa_entry], calls: CallList) -> None:
    """Step 9, in the leader, after zombies were made and stray signals drained: an ignored SIGCHLD would make zombies vanish, and
    setting an action to "ignore" drops queued signals. All are set, because exec keeps what was ignored before it.
    """
    for number, entry in zip(SIGNALS, entries, strict=True):
        action = calls.data(_ACTION.pack(entry.sigaction, entry.flags, entry.restorer, entry.mask))
        calls.add("rt_sigaction", number, action, 0, SIGSET_BYTES, expect=0, about=f"set the action of signal {number}")
