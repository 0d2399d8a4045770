"""One thread (`core_entry`, except the part of its task): registers, credentials, scheduling, alternate stack, rseq, queued signals."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from lamina.core.image.records.limits import SIGNALS, USER_END
from lamina.core.image.records.signals import queue_damage
from lamina.core.image.schema import (
    core_entry,
    creds_entry,
    rseq_entry,
    thread_core_entry,
    thread_info_x86,
    thread_sas_entry,
    user_x86_fpregs_entry,
    user_x86_regs_mode,
    user_x86_xsave_entry,
)

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
            yield from registers_damage(core.thread_info)
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
        yield from credentials_damage(thread.creds)


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


# -- registers ------------------------------------------------------------------------------------------------------------------------

_SELECTORS: Final = ("cs", "ss", "ds", "es", "fs", "gs")
_NEVER_NULL: Final = ("cs", "ss")
_USER_RPL: Final = 3
_HALF_WORDS: Final = ("cwd", "swd", "twd", "fop")
MXCSR: Final = 0x2FFFF
"""Bits of mxcsr that any processor has; bit 17 only AMD's."""
WORDS: Final[Mapping[int, tuple[str, int]]] = MappingProxyType(
    {
        2: ("ymmh_space", 64), 3: ("bndreg_state", 8), 4: ("bndcsr_state", 8), 5: ("opmask_reg", 8), 6: ("zmm_upper", 64),
        7: ("hi16_zmm", 128), 9: ("pkru", 2),
    }
)  # fmt: skip
"""XSAVE component → its field, and how many words that has."""


def registers_damage(info: thread_info_x86) -> Iterator[str]:
    """What is wrong with registers on x86-64: what ptrace(2) accepts (arch/x86/kernel/ptrace.c, kernel/fpu/xstate.c)."""
    general = info.gpregs
    for name in _SELECTORS:
        value = getattr(general, name)
        if value > 0xFFFF or (value & 3 != _USER_RPL and (value or name in _NEVER_NULL)):
            yield f"its register {name} is {value:#x}, which is no selector of a program"
    for name in ("fs_base", "gs_base"):
        if (value := getattr(general, name)) >= USER_END:
            yield f"its register {name} is {value:#x}, outside user space"
    if general.mode not in (user_x86_regs_mode.NATIVE, user_x86_regs_mode.COMPAT):
        yield f"its registers are of mode {general.mode}"
    yield from _vector(info.fpregs)


def _vector(entry: user_x86_fpregs_entry) -> Iterator[str]:
    for name in _HALF_WORDS:
        if (value := getattr(entry, name)) > 0xFFFF:
            yield f"its register {name} is {value:#x}, which does not fit into 16 bits"
    if entry.mxcsr & ~MXCSR:
        yield f"its mxcsr is {entry.mxcsr:#x}, which no processor has"
    for name, words, exact in (("st_space", 32, True), ("xmm_space", 64, True), ("padding", 24, False)):
        count = len(getattr(entry, name))
        if count != words if exact else count > words:
            yield f"its registers have {count} words in {name}, not {words}"
    if entry.HasField("xsave"):
        yield from _components(entry.xsave)


def _components(entry: user_x86_xsave_entry) -> Iterator[str]:
    for bit, (name, words) in WORDS.items():
        count = len(getattr(entry, name))
        # One that is not in use may lack: it is in its initial state.
        if count != words and (count or entry.xstate_bv >> bit & 1):
            yield f"its registers have {count} words in {name}, not {words}"


# -- credentials ----------------------------------------------------------------------------------------------------------------------

_IDS: Final = ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid")
_NOBODY: Final = 2**32 - 1  # "as it is", in every call that takes an id
_GROUPS: Final = 65536  # NGROUPS_MAX
_SETS: Final = ("inh", "prm", "eff", "bnd", "amb")
_SECUREBITS: Final = 0xFFF
"""All there are: eight, and four of executables since Linux 6.14 (linux/securebits.h)."""


def mask(words: Sequence[int]) -> int:
    """A capability set; the words of an image are 32 bits each, the lowest first."""
    return sum(word << 32 * at for at, word in enumerate(words[:2]))


def credentials_damage(entry: creds_entry) -> Iterator[str]:
    """What is wrong with the credentials of a thread: what setresuid(2), setgroups(2), capset(2) and prctl(2) take."""
    for name in _IDS:
        if getattr(entry, name) == _NOBODY:
            yield f"its {name} is -1"
    if len(entry.groups) > _GROUPS or _NOBODY in entry.groups:
        yield f"its {len(entry.groups)} groups are too many, or one is -1"
    for name in _SETS:
        if any(getattr(entry, f"cap_{name}")[2:]):
            yield f"its capability set {name} has more than 64 bits"
    inheritable, permitted, effective, _, ambient = (mask(getattr(entry, f"cap_{name}")) for name in _SETS)
    if effective & ~permitted:
        yield f"capabilities {effective & ~permitted:#x} are effective and not permitted"
    if ambient & ~(permitted & inheritable):
        yield f"capabilities {ambient & ~(permitted & inheritable):#x} are ambient and not permitted and inheritable"
    if entry.secbits & ~_SECUREBITS:
        yield f"its securebits are {entry.secbits:#x}"
    if entry.no_new_privs > 1:
        yield f"its no_new_privs is {entry.no_new_privs}"
