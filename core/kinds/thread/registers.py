"""Registers of a thread: general purpose ones, and through kinds/xstate.py the vector ones ↔ `thread_info_x86`.

Rebuild: RESTORE's last step before the switch, every thread stopped and the scratch range gone (PTRACE_SETREGS with fs_base and gs_base,
then NT_X86_XSTATE): after it nothing may run inside, or the registers are no longer the thread's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lamina.core.errors import Blocker, ImageError
from lamina.core.image.schema import core_entry, thread_info_x86, user_x86_regs_entry, user_x86_regs_mode
from lamina.core.kinds.thread import interrupted
from lamina.core.kinds.thread import xstate as xstates
from lamina.core.kinds.thread.xstate import XstateLayout

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


@dataclass(frozen=True)
class Registers:
    """What PTRACE_SETREGS and PTRACE_SETREGSET(NT_X86_XSTATE) are given.

    Attributes:
        general: name as in `struct user_regs_struct` → value.
        xstate: this machine's standard XSAVE layout, exactly as long as its regset.
    """

    general: dict[str, int]
    xstate: bytes


def save(regs: Mapping[str, int], xstate: bytes, clear_tid: int, layout: XstateLayout | None = None) -> thread_info_x86:
    """A stopped thread's registers; *clear_tid* is what PR_GET_TID_ADDRESS gave.

    Raises:
        TargetError: see `xstate.save`.
    """
    info = thread_info_x86(clear_tid_addr=clear_tid, fpregs=xstates.save(xstate, layout))
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


def dump_blockers(port_rights: bool) -> list[Blocker]:
    """What a stopped thread has beside its registers that images cannot hold. *port_rights*: it has an NT_386_IOPERM."""
    return [Blocker("a setting", "it may use processor ports (ioperm), which images cannot hold")] if port_rights else []


def blockers(core: core_entry, layout: XstateLayout | None = None) -> list[Blocker]:
    """What keeps a thread from being put back on this machine: missing processor features."""
    return xstates.blockers(core.thread_info.fpregs, layout)
