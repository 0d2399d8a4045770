"""FPU and vector registers: NT_X86_XSTATE bytes ↔ `user_x86_fpregs_entry`.

The bytes are the standard XSAVE layout (Intel SDM vol. 1, §13.4): 512 bytes FXSAVE, 64 bytes header, then components at offsets that
differ from processor to processor (CPUID leaf 0xD). An image holds components, so it moves between machines that have them.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

from lamina.core.errors import Blocker, ImageError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import user_x86_fpregs_entry, user_x86_xsave_entry

LEGACY_SIZE: Final = 512
HEADER_END: Final = 576
_LEGACY_HEAD: Final = struct.Struct("<HHHHQQII")  # cwd swd twd fop rip rdp mxcsr mxcsr_mask
_HALF_WORDS: Final = ("cwd", "swd", "twd", "fop")
_MXCSR: Final = 0x2FFFF
"""Bits of mxcsr that any processor has; bit 17 only AMD's."""
_ST, _XMM, _PADDING = slice(32, 160), slice(160, 416), slice(416, 512)

FEATURE_NAMES: Final = MappingProxyType(
    {
        0: "x87", 1: "SSE", 2: "AVX", 3: "MPX bounds", 4: "MPX configuration", 5: "AVX-512 masks", 6: "AVX-512 upper halves",
        7: "AVX-512 registers 16-31", 9: "protection keys", 11: "shadow stack", 17: "AMX tile configuration", 18: "AMX tile data",
        19: "APX registers",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Component:
    """A component the format has a field for: how many words of which size it has there."""

    field: str
    words: int
    code: Literal["I", "Q"]

    @property
    def bytes(self) -> int:
        return self.words * (4 if self.code == "I" else 8)


_COMPONENTS: Final = MappingProxyType(
    {
        2: _Component("ymmh_space", 64, "I"),
        # Linux 5.6 took MPX from programs, but still saves its state: processors that have it (and emulated ones) show it as in use.
        3: _Component("bndreg_state", 8, "Q"),
        4: _Component("bndcsr_state", 8, "Q"),
        5: _Component("opmask_reg", 8, "Q"),
        6: _Component("zmm_upper", 64, "Q"),
        7: _Component("hi16_zmm", 128, "Q"),
        9: _Component("pkru", 2, "I"),
    }
)
_HELD: Final = 0b11 | sum(1 << bit for bit in _COMPONENTS)


@dataclass(frozen=True)
class XstateLayout:
    """Where components lie on one machine.

    Attributes:
        features: XCR0.
        size: bytes of the whole area, which PTRACE_SETREGSET wants exactly.
        places: component number → (offset, bytes).
    """

    features: int
    size: int
    places: MappingProxyType[int, tuple[int, int]]


@cache
def host_layout() -> XstateLayout:
    """This machine's.

    Raises:
        NativeError: it has no XSAVE.
    """
    raw, err = ffi.new("lm_xstate_layout *"), new_error()
    check(C.lm_xstate_layout_read(raw, err), err)
    places = {bit: (raw.offset[bit], raw.bytes[bit]) for bit in range(2, 63) if raw.bytes[bit]}
    return XstateLayout(int(raw.features), int(raw.size), MappingProxyType(places))


def feature_names(mask: int) -> str:
    """Component names of the bits in *mask*, for messages."""
    return ", ".join(FEATURE_NAMES.get(bit, f"state component {bit}") for bit in range(64) if mask >> bit & 1)


def _words(raw: memoryview, code: Literal["I", "Q"]) -> Sequence[int]:
    return raw.cast(code).tolist()


def save(xstate: bytes, layout: XstateLayout | None = None) -> user_x86_fpregs_entry:
    """The bytes that PTRACE_GETREGSET gave as a message. Every bit is kept.

    Raises:
        TargetError: a component is in use that the format has no field for (AMX tiles), or the bytes are no standard XSAVE area.
    """
    layout = layout or host_layout()
    if len(xstate) < HEADER_END:
        raise TargetError("cannot read", "vector registers", f"{len(xstate)} bytes of XSAVE state, at least {HEADER_END} expected")
    in_use, compacted = struct.unpack_from("<QQ", xstate, LEGACY_SIZE)
    if compacted:
        raise TargetError("cannot read", "vector registers", "the kernel gave the compacted XSAVE format")
    if in_use & ~_HELD:
        raise TargetError(
            "cannot dump", "vector registers", f"{feature_names(in_use & ~_HELD)} in use, which the image format has no field for"
        )
    view = memoryview(xstate)
    cwd, swd, twd, fop, rip, rdp, mxcsr, mxcsr_mask = _LEGACY_HEAD.unpack_from(xstate)
    entry = user_x86_fpregs_entry(
        cwd=cwd, swd=swd, twd=twd, fop=fop, rip=rip, rdp=rdp, mxcsr=mxcsr, mxcsr_mask=mxcsr_mask,
        st_space=_words(view[_ST], "I"), xmm_space=_words(view[_XMM], "I"), padding=_words(view[_PADDING], "I"),
    )  # fmt: skip
    entry.xsave.xstate_bv = in_use
    for bit, component in _COMPONENTS.items():
        offset, size = layout.places.get(bit, (0, 0))
        if size >= component.bytes and offset + size <= len(xstate):
            words = _words(view[offset : offset + component.bytes], component.code)
            getattr(entry.xsave, component.field).extend(words)
    return entry


def damage(entry: user_x86_fpregs_entry) -> Iterator[str]:
    """What an image cannot have (arch/x86/kernel/fpu/xstate.c), on any machine."""
    for name in _HALF_WORDS:
        if (value := getattr(entry, name)) > 0xFFFF:
            yield f"its register {name} is {value:#x}, which does not fit into 16 bits"
    if entry.mxcsr & ~_MXCSR:
        yield f"its mxcsr is {entry.mxcsr:#x}, which no processor has"
    for name, words, exact in (("st_space", 32, True), ("xmm_space", 64, True), ("padding", 24, False)):
        count = len(getattr(entry, name))
        if count != words if exact else count > words:
            yield f"its registers have {count} words in {name}, not {words}"
    if entry.HasField("xsave"):
        for bit, component in _COMPONENTS.items():
            count = len(getattr(entry.xsave, component.field))
            # One that is not in use may lack: it is in its initial state.
            if count != component.words and (count or entry.xsave.xstate_bv >> bit & 1):
                yield f"its registers have {count} words in {component.field}, not {component.words}"


def _in_use(entry: user_x86_xsave_entry) -> int:
    """The components that differ from their initial state: all zeros is the initial state of every component that has a field here."""
    at_rest = sum(1 << bit for bit, component in _COMPONENTS.items() if (held := getattr(entry, component.field)) and not any(held))
    return int(entry.xstate_bv) & ~at_rest


def blockers(entry: user_x86_fpregs_entry, layout: XstateLayout | None = None) -> list[Blocker]:
    """What this machine cannot take: state components in use that its processor has not, or that we have no field for."""
    layout = layout or host_layout()
    if not entry.HasField("xsave"):
        return []
    in_use = _in_use(entry.xsave)
    found = []
    if lacking := in_use & ~layout.features:
        why = f"{feature_names(lacking)} in use when it was dumped, and this processor has none"
        found.append(Blocker("vector registers", why, "restore on a machine with the processor features of the dump"))
    if unheld := in_use & layout.features & ~_HELD:
        found.append(Blocker("vector registers", f"{feature_names(unheld)} in use, whose content the image does not hold"))
    return found


def _pack(values: Sequence[int], words: int, code: Literal["I", "Q"], name: str) -> bytes:
    if len(values) != words:
        raise ImageError("damaged image", f"registers, field {name}", f"{len(values)} words, {words} expected")
    return struct.pack(f"<{words}{code}", *values)


def _load_xsave(entry: user_x86_xsave_entry, area: bytearray, layout: XstateLayout) -> None:
    struct.pack_into("<Q", area, LEGACY_SIZE, entry.xstate_bv & layout.features)
    for bit, component in _COMPONENTS.items():
        values = getattr(entry, component.field)
        in_use = entry.xstate_bv >> bit & 1
        if not values and not in_use:
            continue
        packed = _pack(values, component.words, component.code, component.field)
        offset, size = layout.places.get(bit, (0, 0))
        # A component that is not in use may lack here: its registers are in their initial state on any machine.
        if size >= component.bytes:
            area[offset : offset + component.bytes] = packed


def load(entry: user_x86_fpregs_entry, layout: XstateLayout | None = None) -> bytes:
    """The bytes for PTRACE_SETREGSET on this machine; `save` of them gives *entry* again. Ask `blockers` first.

    Raises:
        ImageError: fields of wrong length or size, or components this machine has not.
    """
    layout = layout or host_layout()
    if found := blockers(entry, layout):
        raise ImageError("cannot load", found[0].obj, found[0].why, found[0].fix)
    area = bytearray(layout.size)
    try:
        _LEGACY_HEAD.pack_into(area, 0, entry.cwd, entry.swd, entry.twd, entry.fop, entry.rip, entry.rdp, entry.mxcsr, entry.mxcsr_mask)
    except struct.error as error:
        raise ImageError("damaged image", "registers, x87 control fields", "a value does not fit into 16 bits") from error
    area[_ST] = _pack(entry.st_space, 32, "I", "st_space")
    area[_XMM] = _pack(entry.xmm_space, 64, "I", "xmm_space")
    if len(entry.padding) > 24:
        raise ImageError("damaged image", "registers, field padding", f"{len(entry.padding)} words, at most 24 expected")
    area[_PADDING] = _pack([*entry.padding, *[0] * (24 - len(entry.padding))], 24, "I", "padding")
    if entry.HasField("xsave"):
        _load_xsave(entry.xsave, area, layout)
    else:
        struct.pack_into("<Q", area, LEGACY_SIZE, 0b11)  # dumped without XSAVE: x87 and SSE are all there is
    return bytes(area)
