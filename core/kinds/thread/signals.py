"""Signals of a thread: its mask, what is queued for it alone, and the one it gets when its parent ends.

Queues are raw siginfo ↔ `signal_queue_entry`. They are asked from outside (PTRACE_PEEKSIGINFO), last of all, because timers may fire during
the dump, and rebuilt from inside: the kernel lets only the receiver queue a siginfo that says it came from the kernel, a timer or tgkill
(rt_sigqueueinfo(2)).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lamina.core.attach.calls import CallList
from lamina.core.image.records.limits import SIGNALS, is_signal
from lamina.core.image.records.queues import number_of
from lamina.core.image.schema import core_entry, siginfo_entry, signal_queue_entry
from lamina.core.objects.prctl import ask_int
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, Stage, ThreadKind, ThreadRecord

_SIGINFO_BYTES: Final = 128
_NEVER_QUEUED: Final = (9, 19)
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2


def queue_of(signals: Sequence[bytes]) -> signal_queue_entry:
    """A queue of raw siginfo as a message, oldest first."""
    return signal_queue_entry(signals=[siginfo_entry(siginfo=raw) for raw in signals])


def queued(queue: signal_queue_entry) -> list[tuple[int, bytes]]:
    """(signal number, siginfo) of a queue without damage, oldest first."""
    return [(number_of(entry.siginfo), entry.siginfo) for entry in queue.signals]


def queue_damage(queue: signal_queue_entry) -> Iterator[str]:
    """What is wrong with a queue of signals, of a thread or of a process."""
    for entry in queue.signals:
        if len(entry.siginfo) != _SIGINFO_BYTES:
            yield f"a queued signal has {len(entry.siginfo)} bytes, not {_SIGINFO_BYTES}"
            continue
        number = number_of(entry.siginfo)
        if not is_signal(number) or number in _NEVER_QUEUED:
            yield f"signal {number} is queued, which cannot be"


class SignalMask(ThreadKind[int]):
    """Blocked signals, bit 0 = signal 1."""

    name = "signal mask"
    stage = Stage.REGISTERS

    def read(self, seen: CapturedThread) -> int:
        """Of the stop."""
        return int(seen.stop.sigmask)

    def save(self, value: int, core: core_entry) -> None:
        """The leader's is the task's, too."""
        core.thread_core.blk_sigset = value
        if core.HasField("tc"):
            core.tc.blk_sigset = value

    def load(self, record: ThreadRecord, stop: Any) -> None:
        """Older images have the leader's only in `tc`."""
        core = record.core
        stop.sigmask = int(core.thread_core.blk_sigset if core.thread_core.HasField("blk_sigset") else core.tc.blk_sigset)


class PrivateQueue(ThreadKind[tuple[bytes, ...]]):
    """Signals that wait for this thread."""

    name = "queued signals of a thread"
    stage = Stage.THREAD

    def read(self, seen: CapturedThread) -> tuple[bytes, ...]:
        """Raw siginfo."""
        return seen.signals

    def save(self, value: tuple[bytes, ...], core: core_entry) -> None:
        """Oldest first."""
        core.thread_core.signals_p.CopyFrom(queue_of(value))

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """What cannot be queued."""
        yield from queue_damage(record.core.thread_core.signals_p)

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """All its signals blocked, after the actions: one set to "ignore" drops what is queued."""
        for number, raw in queued(record.core.thread_core.signals_p):
            about = f"queue signal {number} for thread {record.tid}"
            calls.add("rt_tgsigqueueinfo", record.pid, record.tid, number, calls.data(raw), expect=0, about=about)


class ParentDeathSignal(ThreadKind[int]):
    """The signal that it gets when its parent ends (PR_SET_PDEATHSIG); 0 if none."""

    name = "parent-death signal"
    stage = Stage.CREDENTIALS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Of the calling thread."""
        return ask_int(calls, _PR_GET_PDEATHSIG, "read the parent-death signal")

    def save(self, value: int, core: core_entry) -> None:
        """If there is one."""
        if value:
            core.thread_core.pdeath_sig = value

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """It must be a signal."""
        if record.core.thread_core.pdeath_sig > SIGNALS:
            yield f"its parent-death signal is {record.core.thread_core.pdeath_sig}"

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """After the credentials: a change of those clears it."""
        if number := record.core.thread_core.pdeath_sig:
            calls.add("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0, expect=0, about="set the parent-death signal")
