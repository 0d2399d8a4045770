"""The notes of an ELF core file (core(5), elf(5)): registers of each thread, the process, auxv, mapped files, as Linux writes
them for x86-64.

Structures are those of sys/procfs.h; the order is the kernel's (fs/binfmt_elf.c): gdb takes the first thread for the current one.
"""

import struct
from types import MappingProxyType
from typing import Final

from lamina.core.errors import ImageError, LaminaError
from lamina.core.image.format import TaskState
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry, pstree_entry, user_x86_fpregs_entry, user_x86_regs_mode
from lamina.core.inspect.areas import AreaKind
from lamina.core.inspect.memory_reader import Memory
from lamina.core.kinds.thread import registers, xstate

PAGE: Final = 4096
NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE, NT_SIGINFO, NT_FILE = 0x202, 0x53494749, 0x46494C45
_PRSTATUS: Final = struct.Struct("<3ih2xQQ4I8q27Qi4x")
_PRPSINFO: Final = struct.Struct("<bcbb4xQ2I4I16s80s")
_SIGINFO_BYTES: Final = 128
# Where components lie in the areas that gdb knows; the first bytes of the header's software part hold the mask (i387-tdep.c).
_AVX: Final = xstate.XstateLayout(0x7, 832, MappingProxyType({2: (576, 256)}))
_AVX512: Final = xstate.XstateLayout(
    0x2E7, 2696, MappingProxyType({2: (576, 256), 5: (1088, 64), 6: (1152, 512), 7: (1664, 1024), 9: (2688, 8)})
)
_XCR0_AT: Final = 464


def notes_of(layer: Layer, pid: int, memory: Memory) -> bytes:
    """All notes for task *pid*.

    Raises:
        ImageError: an image is missing or damaged, or the task ran no 64-bit x86 code.
    """
    task = next((it for it in layer.pstree if it.pid == pid), None)
    if task is None:
        raise ImageError("no process", f"{pid} in layer {layer}", f"pstree.img holds {', '.join(str(it) for it in layer.pids)}")
    leader = layer.core(pid)
    parts = [_thread_status(layer, task, pid, leader), _note(NT_PRPSINFO, _prpsinfo(layer, task, leader, memory))]
    if signal := _siginfo(leader):
        parts.append(_note(NT_SIGINFO, signal))
    auxv = list(layer.mm(pid).mm_saved_auxv)
    if auxv[-2:-1] != [0]:  # images leave out the pair that ends it, which readers of a core look for
        auxv += [0, 0]
    parts.append(_note(NT_AUXV, struct.pack(f"<{len(auxv)}Q", *auxv)))
    parts.append(_note(NT_FILE, _files(memory)))
    parts.append(_vector_registers(leader))
    for tid in task.threads:
        if tid != pid:
            core = layer.core(tid)
            parts += (_thread_status(layer, task, tid, core), _vector_registers(core))
    return b"".join(parts)


def _note(kind: int, content: bytes, name: bytes = b"CORE") -> bytes:
    head = struct.pack("<III", len(name) + 1, len(content), kind) + name + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def _thread_status(layer: Layer, task: pstree_entry, tid: int, core: core_entry) -> bytes:
    if core.mtype != core_entry.X86_64 or not core.HasField("thread_info"):
        raise ImageError("cannot write a core file of", str(layer.file(f"core-{tid}.img")), "it holds no x86-64 registers")
    regs = core.thread_info.gpregs
    if regs.mode == user_x86_regs_mode.COMPAT:
        raise ImageError("cannot write a core file of", str(layer.file(f"core-{tid}.img")), "the thread ran 32-bit code")
    pending = sum(1 << number - 1 for number in {int.from_bytes(raw[:4], "little") for raw in _queued(core)} if 1 <= number <= 64)
    blocked = core.thread_core.blk_sigset if core.thread_core.HasField("blk_sigset") else core.tc.blk_sigset
    signal = core.tc.stop_signo & 0x7F if core.tc.task_state == TaskState.STOPPED else 0
    ids = (tid, task.ppid, task.pgid, task.sid)
    return _note(
        NT_PRSTATUS, _PRSTATUS.pack(signal, 0, 0, signal, pending, blocked, *ids, *[0] * 8, *registers.general_of(regs).values(), 1)
    )


def _queued(core: core_entry) -> list[bytes]:
    """The raw siginfo of what waits for the thread, or for its task."""
    found = [*core.thread_core.signals_p.signals, *core.tc.signals_s.signals]
    return [entry.siginfo for entry in found if len(entry.siginfo) == _SIGINFO_BYTES]


def _siginfo(core: core_entry) -> bytes:
    return next(iter(_queued(core)), b"")


def _prpsinfo(layer: Layer, task: pstree_entry, core: core_entry, memory: Memory) -> bytes:
    state, letter = (3, b"T") if core.tc.task_state == TaskState.STOPPED else (1, b"S")
    nice = max(-20, min(19, core.thread_core.sched_nice))
    creds = core.thread_core.creds
    ids = (task.pid, task.ppid, task.pgid, task.sid)
    return _PRPSINFO.pack(state, letter, 0, nice, 0, creds.uid, creds.gid, *ids, core.tc.comm[:15], _arguments(layer, task.pid, memory))


def _arguments(layer: Layer, pid: int, memory: Memory) -> bytes:
    mm = layer.mm(pid)
    size = min(79, max(0, mm.mm_arg_end - mm.mm_arg_start))
    try:
        return memory.read(mm.mm_arg_start, size).rstrip(b"\0").replace(b"\0", b" ")
    except LaminaError:
        return b""


def _files(memory: Memory) -> bytes:
    """NT_FILE: which file lies where, its offset in pages."""
    mapped = [area for area in memory.areas if area.kind in (AreaKind.FILE, AreaKind.SHARED_FILE) and area.name]
    table = b"".join(struct.pack("<3Q", area.start, area.end, area.offset // PAGE) for area in mapped)
    return struct.pack("<2Q", len(mapped), PAGE) + table + b"".join(area.name.encode("utf-8", "surrogateescape") + b"\0" for area in mapped)


def _vector_registers(core: core_entry) -> bytes:
    """NT_FPREGSET and, if the image has more than SSE, NT_X86_XSTATE."""
    entry = user_x86_fpregs_entry()
    entry.CopyFrom(core.thread_info.fpregs)
    held = entry.xsave
    layout = _AVX512 if held.opmask_reg or held.zmm_upper or held.hi16_zmm or held.pkru else _AVX
    # What gdb has no register for must not keep it from showing the others.
    held.xstate_bv &= layout.features
    area = bytearray(xstate.load(entry, layout))
    struct.pack_into("<Q", area, _XCR0_AT, layout.features)
    notes = _note(NT_FPREGSET, bytes(area[: xstate.LEGACY_SIZE]))
    return notes + (_note(NT_X86_XSTATE, bytes(area), b"LINUX") if core.thread_info.fpregs.HasField("xsave") else b"")


def segment_flags(prot: int) -> int:
    """p_flags (PF_X 1, PF_W 2, PF_R 4) of PROT_* bits."""
    return (prot & 1) << 2 | prot & 2 | (prot & 4) >> 2
