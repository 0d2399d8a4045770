"""Restartable sequences of a thread: the rseq(2) registration ↔ `rseq_entry`.

Asked from outside (PTRACE_GET_RSEQ_CONFIGURATION), with rseq_cs read right at the stop: a thread stopped inside a critical section is
saved at its abort address, so no `rseq_cs_pointer` is ever written.
"""

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import rseq_entry, thread_core_entry


def save(rseq: tuple[int, int, int] | None, core: thread_core_entry) -> None:
    """(address, size, signature) into *core*, or nothing."""
    if rseq is not None and rseq[0]:
        address, size, signature = rseq
        core.rseq_entry.CopyFrom(rseq_entry(rseq_abi_pointer=address, rseq_abi_size=size, signature=signature))


def rebuild(core: thread_core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself, after the pages are in: registering writes to the area. glibc believes it is registered."""
    if not core.HasField("rseq_entry") or not core.rseq_entry.rseq_abi_pointer:
        return
    entry = core.rseq_entry
    calls.add("rseq", entry.rseq_abi_pointer, entry.rseq_abi_size, 0, entry.signature, expect=0, about="register restartable sequences")
