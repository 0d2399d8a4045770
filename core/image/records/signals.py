"""Queued signals and signal actions: what rt_sigqueueinfo(2) and rt_sigaction(2) take."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from lamina.core.image.records.limits import is_signal
from lamina.core.image.schema import sa_entry, signal_queue_entry

SIGINFO_BYTES: Final = 128
ACTIONS: Final = 62
"""One for each signal but SIGKILL and SIGSTOP."""
NEVER_QUEUED: Final = (9, 19)


def queue_damage(queue: signal_queue_entry) -> Iterator[str]:
    """What is wrong with a queue of signals, of a thread or of a process."""
    for entry in queue.signals:
        if len(entry.siginfo) != SIGINFO_BYTES:
            yield f"a queued signal has {len(entry.siginfo)} bytes, not {SIGINFO_BYTES}"
            continue
        number = number_of(entry.siginfo)
        if not is_signal(number) or number in NEVER_QUEUED:
            yield f"signal {number} is queued, which cannot be"


def number_of(siginfo: bytes) -> int:
    """si_signo of a siginfo_t."""
    (number,) = struct.unpack_from("<i", siginfo)
    return int(number)


def action_damage(actions: Sequence[sa_entry]) -> Iterator[str]:
    """What is wrong with the actions of a process."""
    if len(actions) != ACTIONS:
        yield f"it has {len(actions)} signal actions, not {ACTIONS}"
