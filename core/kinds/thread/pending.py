"""Queued signals: raw siginfo ↔ `signal_queue_entry`; of one thread (private) or of its task (shared).

Asked from outside (PTRACE_PEEKSIGINFO), last of all, because timers may fire during the dump. Rebuilt from inside: the kernel lets only the
receiver queue a siginfo that says it came from the kernel, a timer or tgkill (rt_sigqueueinfo(2)).
"""

from collections.abc import Sequence

from lamina.core.attach.calls import CallList
from lamina.core.image.records.signals import number_of
from lamina.core.image.schema import siginfo_entry, signal_queue_entry


def save(signals: Sequence[bytes]) -> signal_queue_entry:
    """A queue, oldest first."""
    return signal_queue_entry(signals=[siginfo_entry(siginfo=raw) for raw in signals])


def load(queue: signal_queue_entry) -> list[tuple[int, bytes]]:
    """(signal number, siginfo), oldest first, of a queue without damage (`lamina.core.image.records.signals`)."""
    return [(number_of(entry.siginfo), entry.siginfo) for entry in queue.signals]


def rebuild_private(queue: signal_queue_entry, pid: int, tid: int, calls: CallList) -> None:
    """Step 11, in thread *tid* itself, all its signals blocked, after the actions (one set to "ignore" drops what is queued)."""
    for number, raw in load(queue):
        info = calls.data(raw)
        calls.add("rt_tgsigqueueinfo", pid, tid, number, info, expect=0, about=f"queue signal {number} for thread {tid}")


def rebuild_shared(queue: signal_queue_entry, pid: int, calls: CallList) -> None:
    """Step 11, in the leader (the kernel compares the receiver with the caller's thread id), otherwise as `rebuild_private`."""
    for number, raw in load(queue):
        calls.add("rt_sigqueueinfo", pid, number, calls.data(raw), expect=0, about=f"queue signal {number} for the process")
