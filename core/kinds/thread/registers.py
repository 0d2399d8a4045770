"""Registers of a thread: general purpose ones, and through kinds/xstate.py the vector ones ↔ `thread_info_x86`.

They are put back when the scratch range is gone (PTRACE_SETREGS with fs_base and gs_base, then NT_X86_XSTATE): after that nothing may run
inside, or they are no longer the thread's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lamina.core.errors import Blocker, ImageError
from lamina.core.ffi import ffi
from lamina.core.image.records.limits import USER_END
from lamina.core.image.schema import core_entry, thread_info_x86, user_x86_regs_entry, user_x86_regs_mode
from lamina.core.kinds.thread import interrupted
from lamina.core.kinds.thread import xstate as xstates
from lamina.core.kinds.thread.xstate import XstateLayout
from lamina.core.objects.task_kind import CapturedThread, Machine, Stage, ThreadKind, ThreadRecord

# struct user_regs_struct (sys/user.h) → user_x86_regs_entry
_FIELDS: Final = MappingProxyType(
    {
        "r15": "r15", "r14": "r14", "r13": "r13", "r12": "r12", "rbp": "bp", "rbx": "bx", "r11": "r11", "r10": "r10", "r9": "r9",
        "r8": "r8", "rax": "ax", "rcx": "cx", "rdx": "dx", "rsi": "si", "rdi": "di", "orig_rax": "orig_ax", "rip": "ip", "cs": "cs",
        "eflags": "flags", "rsp": "sp", "ss": "ss", "fs_base": "fs_base", "gs_base": "gs_base", "ds": "ds", "es": "es", "fs": "fs",
        "gs": "gs",
    }
)  # fmt: skip
NAMES: Final = tuple(_FIELDS)
USER_CODE_64: Final = 0x33  # __USER_CS
_SELECTORS: Final = ("cs", "ss", "ds", "es", "fs", "gs")
_NEVER_NULL: Final = ("cs", "ss")
_USER_RPL: Final = 3
_MISALIGNED_SSE: Final = 1 << 17


@dataclass(frozen=True)
class Registers:
    """What PTRACE_SETREGS and PTRACE_SETREGSET(NT_X86_XSTATE) are given.

    Attributes:
        general: name as in `struct user_regs_struct` → value.
        xstate: this machine's standard XSAVE layout, exactly as long as its regset.
    """

    general: dict[str, int]
    xstate: bytes

    @property
    def restart(self) -> int:
        """For the sidecar: the code of the system call that the stop interrupted; 0 if it was none that is made again."""
        return interrupted.for_image(self.general)[1]


def save(regs: Mapping[str, int], xstate: bytes, layout: XstateLayout | None = None) -> thread_info_x86:
    """A stopped thread's registers.

    Raises:
        TargetError: see `xstate.save`.
    """
    info = thread_info_x86(fpregs=xstates.save(xstate, layout))
    general, _ = interrupted.for_image(regs)
    for name, field in _FIELDS.items():
        setattr(info.gpregs, field, general[name])
    info.gpregs.mode = user_x86_regs_mode.NATIVE
    return info


def load(core: core_entry, layout: XstateLayout | None = None) -> Registers:
    """A thread's registers from its core. `interrupted.for_new_process` must still look at them.

    Raises:
        ImageError: the core has no x86-64 registers, or they cannot be loaded here.
    """
    if not core.HasField("thread_info"):
        raise ImageError("damaged image", "core", "no x86-64 registers in it")
    info = core.thread_info
    return Registers(general_of(info.gpregs), xstates.load(info.fpregs, layout))


def general_of(entry: user_x86_regs_entry) -> dict[str, int]:
    """The general purpose registers, by their names in `struct user_regs_struct` and in its order."""
    return {name: int(getattr(entry, field)) for name, field in _FIELDS.items()}


def damage(info: thread_info_x86) -> Iterator[str]:
    """What ptrace(2) would not put in (arch/x86/kernel/ptrace.c)."""
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
    yield from xstates.damage(info.fpregs)


def _memory_at(pid: int, address: int, size: int) -> bytes:
    """Memory of a process; less than *size* where its mapping ends, nothing where there is none."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)
    except (OSError, ValueError, OverflowError):
        return b""


class ThreadRegisters(ThreadKind[Registers]):
    """All registers, as they are to go on with."""

    name = "registers"
    stage = Stage.REGISTERS

    def read(self, seen: CapturedThread) -> Registers:
        """Of the stop; names as in `struct user_regs_struct`."""
        stop = seen.stop
        return Registers({name: int(getattr(stop.regs, name)) for name in NAMES}, bytes(ffi.buffer(stop.xstate, stop.xstate_size)))

    def late_blockers(self, value: Registers, seen: CapturedThread) -> Iterable[Blocker]:
        """NT_386_IOPERM of the stop."""
        if seen.stop.port_rights:
            yield Blocker("a setting", "it may use processor ports (ioperm), which images cannot hold")

    def save(self, value: Registers, core: core_entry) -> None:
        """Beside the clear-tid address."""
        core.mtype = core_entry.X86_64
        core.thread_info.MergeFrom(save(value.general, value.xstate))

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """Other machines have others, which nobody here can judge."""
        core = record.core
        if core.mtype == core_entry.X86_64 and not core.HasField("thread_info"):
            yield "it has no registers"
        elif core.mtype == core_entry.X86_64:
            yield from damage(core.thread_info)

    def unsupported(self, record: ThreadRecord) -> Iterator[str]:
        """Another architecture, 32-bit code, segments."""
        core, general = record.core, record.core.thread_info.gpregs
        if core.mtype != core_entry.X86_64:
            yield f"it was dumped on another architecture ({core_entry.march.Name(core.mtype)})"
            return
        if general.mode == user_x86_regs_mode.COMPAT or general.cs != USER_CODE_64:
            yield "it runs 32-bit code, which is not supported"
        if any(tls.usable or tls.base_addr or not tls.seg_not_present for tls in core.thread_info.tls):
            yield "it has set_thread_area(2) segments, which are not supported"

    def plan(self, record: ThreadRecord, machine: Machine) -> Iterable[Blocker]:
        """What this processor lacks."""
        info = record.core.thread_info
        yield from xstates.blockers(info.fpregs)
        if max(info.gpregs.fs_base, info.gpregs.gs_base) >= machine.user_end:
            yield Blocker("registers", f"fs_base or gs_base of thread {record.tid} lies outside this machine's user space")
        if info.fpregs.mxcsr & _MISALIGNED_SSE and "misalignsse" not in machine.features:
            yield Blocker("vector registers", f"thread {record.tid} has a bit in mxcsr that only processors of AMD have")

    def load(self, record: ThreadRecord, stop: Any) -> None:
        """The memory is in place: what was interrupted is told by the code there."""
        loaded = load(record.core)
        code = _memory_at(record.pid, loaded.general["rip"] - interrupted.CODE_BYTES, interrupted.CODE_BYTES)
        stack = _memory_at(record.pid, loaded.general["rsp"], interrupted.STACK_BYTES)
        for name, value in interrupted.for_new_process(loaded.general, code, record.restart, stack).items():
            setattr(stop.regs, name, value)
        ffi.memmove(stop.xstate, loaded.xstate, len(loaded.xstate))
        stop.xstate_size = len(loaded.xstate)
