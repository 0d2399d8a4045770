"""Addresses that a thread has told the kernel: what it clears when the thread ends (set_tid_address(2)), its robust futexes
(set_robust_list(2)), restartable sequences (rseq(2)), and its alternate signal stack (sigaltstack(2)).
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import core_entry, rseq_entry, thread_sas_entry
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, Stage, ThreadKind, ThreadRecord

_PR_GET_TID_ADDRESS: Final = 40
_ROBUST_BYTES: Final = 24  # struct robust_list_head
_RSEQ_BYTES: Final = 32
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
_STACK: Final = struct.Struct("<QIxxxxQ")  # struct stack_t: ss_sp, ss_flags, ss_size
_MINSIGSTKSZ: Final = 2048


class TidAddress(ThreadKind[int]):
    """The address that the kernel clears and wakes when a thread ends, which pthread_join waits on; 0 if there is none."""

    name = "clear-tid address"
    stage = Stage.THREAD

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Needs CONFIG_CHECKPOINT_RESTORE."""
        room = calls.room(8)
        calls.add("prctl", _PR_GET_TID_ADDRESS, room, 0, 0, 0, expect=0, about="read the clear-tid address")
        return lambda: int(struct.unpack("<Q", calls.output(room, 8))[0])

    def save(self, value: int, core: core_entry) -> None:
        """Beside the registers."""
        core.thread_info.clear_tid_addr = value

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """The answer, its id, proves that the thread is the one meant."""
        calls.add("set_tid_address", record.core.thread_info.clear_tid_addr, expect=record.tid, about="set the clear-tid address")


class RobustList(ThreadKind[tuple[int, int]]):
    """(head address, length) of its robust futexes; (0, 0) if none is registered. Asked from outside at the stop."""

    name = "robust futex list"
    stage = Stage.THREAD

    def read(self, seen: CapturedThread) -> tuple[int, int]:
        """get_robust_list(2) of the stop."""
        return int(seen.stop.robust_head), int(seen.stop.robust_size)

    def save(self, value: tuple[int, int], core: core_entry) -> None:
        """Required, also where there is none."""
        core.thread_core.futex_rla, core.thread_core.futex_rla_len = value

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """The kernel takes one length only."""
        thread = record.core.thread_core
        if thread.futex_rla and thread.futex_rla_len != _ROBUST_BYTES:
            yield f"its robust list has a head of {thread.futex_rla_len} bytes, not {_ROBUST_BYTES}"

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """The kernel reads the list only when the thread ends."""
        thread = record.core.thread_core
        if thread.futex_rla:
            calls.add("set_robust_list", thread.futex_rla, thread.futex_rla_len, expect=0, about="register the robust futex list")


class AlternateStack(ThreadKind[tuple[int, int, int]]):
    """(address, size, flags) of the stack that signal handlers run on."""

    name = "alternate signal stack"
    stage = Stage.THREAD

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """SS_ONSTACK tells where the batch ran, not where the program was."""
        room = calls.room(_STACK.size)
        calls.add("sigaltstack", 0, room, expect=0, about="read the alternate signal stack")

        def answer() -> tuple[int, int, int]:
            address, flags, size = _STACK.unpack(calls.output(room, _STACK.size))
            return address, size, flags

        return answer

    def save(self, value: tuple[int, int, int], core: core_entry) -> None:
        """`thread_sas_entry`."""
        address, size, flags = value
        core.thread_core.sas.CopyFrom(thread_sas_entry(ss_sp=address, ss_size=size, ss_flags=flags & ~SS_ONSTACK))

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """What sigaltstack(2) refuses."""
        stack = record.core.thread_core.sas
        if stack.ss_flags & ~SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
            yield f"its alternate signal stack has the flags {stack.ss_flags:#x}"
        elif record.core.thread_core.HasField("sas") and not stack.ss_flags & SS_DISABLE and stack.ss_size < _MINSIGSTKSZ:
            yield f"its alternate signal stack has {stack.ss_size} bytes"

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """Before its registers are put back: sigaltstack(2) refuses while running on that stack. A new thread has none."""
        stack = record.core.thread_core.sas
        flags = stack.ss_flags & ~SS_ONSTACK
        if record.core.thread_core.HasField("sas") and not flags & SS_DISABLE:
            packed = calls.data(_STACK.pack(stack.ss_sp, flags, stack.ss_size))
            calls.add("sigaltstack", packed, 0, expect=0, about="set the alternate signal stack")


class RestartableSequences(ThreadKind[tuple[int, int, int] | None]):
    """(address, size, signature) of the area that rseq(2) has registered.

    Asked from outside (PTRACE_GET_RSEQ_CONFIGURATION), with rseq_cs read right at the stop: a thread stopped inside a critical section is
    saved at its abort address, so no `rseq_cs_pointer` is ever written.
    """

    name = "rseq"
    stage = Stage.THREAD

    def read(self, seen: CapturedThread) -> tuple[int, int, int] | None:
        """Of the stop."""
        stop = seen.stop
        return (int(stop.rseq_address), int(stop.rseq_size), int(stop.rseq_signature)) if stop.rseq_address else None

    def save(self, value: tuple[int, int, int] | None, core: core_entry) -> None:
        """Nothing if there is none."""
        if value is not None and value[0]:
            address, size, signature = value
            core.thread_core.rseq_entry.CopyFrom(rseq_entry(rseq_abi_pointer=address, rseq_abi_size=size, signature=signature))

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """The kernel writes there for it."""
        entry = record.core.thread_core.rseq_entry
        start, end = entry.rseq_abi_pointer, entry.rseq_abi_pointer + entry.rseq_abi_size
        if not start:
            return
        if entry.rseq_abi_size < _RSEQ_BYTES or start % _RSEQ_BYTES:
            yield f"its rseq area at {start:#x} has {entry.rseq_abi_size} bytes, or is not aligned"
            return
        at = bisect_right(record.writable, (start, 2**64)) - 1
        if at < 0 or end > record.writable[at][1]:
            yield f"its rseq area at {start:#x} lies where it cannot write"

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """After the pages are in: registering writes to the area. glibc believes it is registered."""
        entry = record.core.thread_core.rseq_entry
        if entry.rseq_abi_pointer:
            about = "register restartable sequences"
            calls.add("rseq", entry.rseq_abi_pointer, entry.rseq_abi_size, 0, entry.signature, expect=0, about=about)
