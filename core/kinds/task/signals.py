"""Signals of a process: the actions of all (`struct kernel_sigaction` ↔ `sa_entry`), and what is queued for it as a whole."""

import resource
import signal
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.tracee import END_SIGNALS
from lamina.core.errors import Blocker
from lamina.core.image.records.queues import queued_signals
from lamina.core.image.schema import core_entry, sa_entry
from lamina.core.kinds.thread.signals import queue_damage, queue_of, queued
from lamina.core.objects.task_kind import Answer, Asking, CapturedTask, Machine, Stage, TaskImages, TaskKind, TaskRecord

SIGNALS: Final = tuple(number for number in range(1, 65) if number not in (9, 19))
"""Every signal that has an action to set: all but SIGKILL and SIGSTOP. The order of the list in a core."""
_SIGSET_BYTES: Final = 8
_SA_NOCLDWAIT: Final = 2
_ACTION: Final = struct.Struct("<QQQQ")  # handler, flags, restorer, mask
_RLIMIT_SIGPENDING: Final = 11


class SignalActions(TaskKind[Mapping[int, bytes]]):
    """Signal number → `struct kernel_sigaction` (32 bytes)."""

    name = "signal actions"
    stage = Stage.ACTIONS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """rt_sigaction(2) of each."""
        rooms = []
        for number in SIGNALS:
            rooms.append(room := calls.room(_ACTION.size))
            calls.add("rt_sigaction", number, 0, room, _SIGSET_BYTES, expect=0, about=f"read the action of signal {number}")
        return lambda: {number: calls.output(room, _ACTION.size) for number, room in zip(SIGNALS, rooms, strict=True)}

    def save(self, value: Mapping[int, bytes], images: TaskImages) -> None:
        """All 62, in the order of their numbers."""
        for number in SIGNALS:
            handler, flags, restorer, mask = _ACTION.unpack(value[number])
            images.tc.sigactions.append(sa_entry(sigaction=handler, flags=flags, restorer=restorer, mask=mask))

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """Other machines may have other numbers of signals."""
        if not record.is_zombie and record.core.mtype == core_entry.X86_64 and len(record.tc.sigactions) != len(SIGNALS):
            yield f"it has {len(record.tc.sigactions)} signal actions, not {len(SIGNALS)}"

    def unsupported(self, record: TaskRecord) -> Iterator[str]:
        """Of 32-bit programs."""
        if any(action.compat_sigaction for action in record.tc.sigactions):
            yield "it has a 32-bit signal action, which is not supported"

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """After zombies were made and stray signals drained: an ignored SIGCHLD would make zombies vanish, and setting an action to
        "ignore" drops queued signals. All are set, because exec keeps what was ignored before it.
        """
        for number, entry in zip(SIGNALS, record.tc.sigactions, strict=True):
            action = calls.data(_ACTION.pack(entry.sigaction, entry.flags, entry.restorer, entry.mask))
            calls.add("rt_sigaction", number, action, 0, _SIGSET_BYTES, expect=0, about=f"set the action of signal {number}")


def reaps_unseen(actions: Mapping[int, bytes]) -> bool:
    """Whether children of the task are reaped without a wait(2) of its: SIGCHLD ignored, or SA_NOCLDWAIT (sigaction(2))."""
    handler, flags, _, _ = _ACTION.unpack(actions[signal.SIGCHLD])
    return bool(handler == signal.SIG_IGN or flags & _SA_NOCLDWAIT)


class SharedQueue(TaskKind[tuple[bytes, ...]]):
    """Signals that wait for whichever thread takes them."""

    name = "queued signals"
    stage = Stage.CLOCKS

    def read(self, seen: CapturedTask) -> tuple[bytes, ...]:
        """Raw siginfo."""
        return seen.signals

    def save(self, value: tuple[bytes, ...], images: TaskImages) -> None:
        """Oldest first."""
        images.tc.signals_s.CopyFrom(queue_of(value))

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """What cannot be queued."""
        yield from queue_damage(record.tc.signals_s)

    def plan(self, record: TaskRecord, machine: Machine) -> Iterable[Blocker]:
        """Each of all its signals and timers takes one of the user's RLIMIT_SIGPENDING; and one signal must be free to work with."""
        numbers = [number for thread in record.threads for number in queued_signals(thread.core)]
        timers, allowed = len(record.tc.timers.posix), resource.getrlimit(_RLIMIT_SIGPENDING)[0]
        if 0 <= allowed < len(numbers) + timers:
            why = f"{len(numbers)} queued signals and {timers} timers, and {allowed} are allowed"
            yield Blocker("signals", why, "raise the limit: ulimit -i")
        if not set(END_SIGNALS.values()) - set(numbers):
            yield Blocker("signals", f"{', '.join(END_SIGNALS)} are all queued for it: one must be free to work with")

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """In the leader: the kernel compares the receiver with the caller's thread id."""
        for number, raw in queued(record.tc.signals_s):
            calls.add("rt_sigqueueinfo", record.pid, number, calls.data(raw), expect=0, about=f"queue signal {number} for the process")
