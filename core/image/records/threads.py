"""One thread (`core_entry`, but for the part of its task): scheduling, alternate stack, robust list, rseq, queued signals, credentials."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from lamina.core.image.records import credentials, registers
from lamina.core.image.records.limits import SIGNALS
from lamina.core.image.records.signals import queue_damage
from lamina.core.image.schema import core_entry, rseq_entry, thread_core_entry, thread_sas_entry, user_x86_regs_mode

COMM_BYTES: Final = 15
_ROBUST_BYTES: Final = 24  # struct robust_list_head
_NICE: Final = range(-20, 20)
_REAL_TIME: Final = (1, 2)
_POLICIES: Final = (0, 1, 2, 3, 5)  # other, fifo, rr, batch, idle
_USER_CS: Final = 0x33
_RESET_ON_FORK: Final = 0x40000000
_PRIORITIES: Final = 99
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
_MINSIGSTKSZ: Final = 2048
_RSEQ_BYTES: Final = 32


def damage(core: core_entry, writable: Sequence[tuple[int, int]]) -> Iterator[str]:
    """What is wrong with it. *writable*: where its process can write, as ascending spans; the kernel writes there for it."""
    if core.mtype == core_entry.X86_64:
        if not core.HasField("thread_info"):
            yield "it has no registers"
        else:
            yield from registers.damage(core.thread_info)
    if not core.HasField("thread_core"):
        yield "it has no part of the thread"
        return
    thread = core.thread_core
    if len(thread.comm) > COMM_BYTES:
        yield f"its name has {len(thread.comm)} bytes, more than {COMM_BYTES}"
    if thread.futex_rla and thread.futex_rla_len != _ROBUST_BYTES:
        yield f"its robust list has a head of {thread.futex_rla_len} bytes, not {_ROBUST_BYTES}"
    yield from _scheduling(thread)
    if thread.HasField("sas"):
        yield from _stack(thread.sas)
    if thread.HasField("rseq_entry") and thread.rseq_entry.rseq_abi_pointer:
        yield from _rseq(thread.rseq_entry, writable)
    if thread.pdeath_sig > SIGNALS:
        yield f"its parent-death signal is {thread.pdeath_sig}"
    yield from queue_damage(thread.signals_p)
    if not thread.HasField("creds"):
        yield "it has no credentials"
    else:
        yield from credentials.damage(thread.creds)


def _scheduling(thread: thread_core_entry) -> Iterator[str]:
    if thread.sched_nice not in _NICE:
        yield f"its nice value is {thread.sched_nice}"
    real_time = thread.sched_policy & ~_RESET_ON_FORK in _REAL_TIME
    if thread.sched_prio > _PRIORITIES or bool(thread.sched_prio) != real_time:
        yield f"its priority is {thread.sched_prio}, with the scheduling policy {thread.sched_policy}"


def _stack(stack: thread_sas_entry) -> Iterator[str]:
    if stack.ss_flags & ~SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
        yield f"its alternate signal stack has the flags {stack.ss_flags:#x}"
    elif not stack.ss_flags & SS_DISABLE and stack.ss_size < _MINSIGSTKSZ:
        yield f"its alternate signal stack has {stack.ss_size} bytes"


def _rseq(entry: rseq_entry, writable: Sequence[tuple[int, int]]) -> Iterator[str]:
    start, end = entry.rseq_abi_pointer, entry.rseq_abi_pointer + entry.rseq_abi_size
    if entry.rseq_abi_size < _RSEQ_BYTES or start % _RSEQ_BYTES:
        yield f"its rseq area at {start:#x} has {entry.rseq_abi_size} bytes, or is not aligned"
        return
    at = bisect_right(writable, (start, 2**64)) - 1
    if at < 0 or end > writable[at][1]:
        yield f"its rseq area at {start:#x} lies where it cannot write"


def unsupported(core: core_entry) -> Iterator[str]:
    """What is whole and cannot be put back, on any machine of ours."""
    if core.mtype != core_entry.X86_64:
        yield f"it was dumped on another architecture ({core_entry.march.Name(core.mtype)})"
        return
    general = core.thread_info.gpregs
    if general.mode == user_x86_regs_mode.COMPAT or general.cs != _USER_CS:
        yield "it runs 32-bit code, which is not supported"
    if any(tls.usable or tls.base_addr or not tls.seg_not_present for tls in core.thread_info.tls):
        yield "it has set_thread_area(2) segments, which are not supported"
    if core.thread_info.fpregs.xsave.cet.cet:  # criu writes the field of every thread; 0: none
        yield "it has a shadow stack, which is not supported"
    if core.thread_core.seccomp_mode:
        yield "it has a seccomp filter, which is not supported"
    if core.thread_core.sched_policy & ~_RESET_ON_FORK not in _POLICIES:
        yield f"its scheduling policy {core.thread_core.sched_policy} has parameters that no field of the format holds"
