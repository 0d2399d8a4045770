"""Registers of a thread on x86-64 (`thread_info_x86`): what ptrace(2) puts in (arch/x86/kernel/ptrace.c, kernel/fpu/xstate.c)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from lamina.core.image.records.limits import USER_END
from lamina.core.image.schema import thread_info_x86, user_x86_fpregs_entry, user_x86_regs_mode, user_x86_xsave_entry

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


def damage(info: thread_info_x86) -> Iterator[str]:
    """What is wrong with them."""
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
