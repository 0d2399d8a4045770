"""Signals that wait for a thread or a process, by their records."""

import struct

from lamina.core.image.schema import core_entry


def number_of(siginfo: bytes) -> int:
    """si_signo of a siginfo_t."""
    (number,) = struct.unpack_from("<i", siginfo)
    return int(number)


def queued_signals(core: core_entry) -> list[int]:
    """Numbers of the signals that wait for this thread or, if it is the leader, for its process; of a core without damage."""
    return [number_of(entry.siginfo) for queue in (core.thread_core.signals_p, core.tc.signals_s) for entry in queue.signals]
