"""The memory descriptor of a task ↔ `mm_entry`: where its code, data, stack, break, arguments and environment lie, auxv, dumpable."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Stat
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.records.limits import PAGE, USER_END
from lamina.core.objects.task_kind import Answer, Asking, CapturedTask, Machine, Stage, TaskImages, TaskKind, TaskLook, TaskRecord

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_MM, PR_SET_MM_MAP = 35, 14
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42
_DUMPABLE: Final = (0, 1, 2)
_MM_MAP: Final = struct.Struct("<11QQII")  # struct prctl_mm_map: 11 addresses, auxv, auxv_size, exe_fd
_AUXV_POINTER: Final = 88
_NO_FD: Final = 0xFFFF_FFFF
_AT_NULL: Final = bytes(16)
_ELF32: Final = b"\x7fELF\x01"
_MAP: Final = (
    "mm_start_code", "mm_end_code", "mm_start_data", "mm_end_data", "mm_start_brk", "mm_brk", "mm_start_stack", "mm_arg_start",
    "mm_arg_end", "mm_env_start", "mm_env_end",
)  # fmt: skip
"""Fields in the order of struct prctl_mm_map."""
_IN_STAT: Final = (
    "start_code", "end_code", "start_data", "end_data", "start_stack", "start_brk", "arg_start", "arg_end", "env_start", "env_end",
)  # fmt: skip
# kernel/sys.c, validate_prctl_map_addr: the code may not be empty, all else may.
_ORDER: Final = (
    ("mm_start_code", "mm_end_code", 1), ("mm_start_data", "mm_end_data", 0), ("mm_start_brk", "mm_brk", 0),
    ("mm_arg_start", "mm_arg_end", 0), ("mm_env_start", "mm_env_end", 0),
)  # fmt: skip
MAX_AUXV: Final = 64
"""Pairs; the kernel keeps about 25 (AT_VECTOR_SIZE)."""


class MemoryDescriptor(TaskKind[tuple[bytes, int]]):
    """(auxv, the current break); the rest of it is the executable's."""

    name = "memory descriptor"
    texts = ("auxv",)
    image = "mm"
    stage = Stage.MEMORY

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """The break."""
        brk = calls.add("brk", 0, about="read the break")
        return lambda: brk.result

    def read(self, seen: CapturedTask) -> tuple[bytes, int]:
        """As the kernel has it."""
        return seen.texts["auxv"], seen.answer(self.name)

    def save(self, value: tuple[bytes, int], images: TaskImages) -> None:
        """Without the pair that ends auxv: the kernel adds it, and criu 3 takes at most 22 pairs (Linux 6 has 22 beside it)."""
        auxv, images.mm.mm_brk = value
        images.mm.mm_saved_auxv.extend(memoryview(auxv.removesuffix(_AT_NULL)).cast("Q").tolist())

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """What PR_SET_MM_MAP refuses on any machine."""
        entry = record.mm
        for name in _MAP:
            if not PAGE <= (value := getattr(entry, name)) < USER_END:
                yield f"its {name} is {value:#x}, which is no address of a program"
        for low, high, least in _ORDER:
            if getattr(entry, low) + least > getattr(entry, high):
                yield f"its {low} is above its {high}"
        words = len(entry.mm_saved_auxv)
        if words % 2 or words > 2 * MAX_AUXV:
            yield f"its auxiliary vector has {words} words"

    def plan(self, record: TaskRecord, machine: Machine) -> Iterable[Blocker]:
        """Tried here."""
        err = new_error()
        addresses = ffi.new("uint64_t[11]", [getattr(record.mm, name) for name in _MAP])
        try:
            check(C.lm_try_mm(addresses, len(record.mm.mm_saved_auxv), err), err)
        except NativeError as error:
            why = f"this kernel does not take where its code, data, break, stack and arguments lie: {error.reason}"
            yield Blocker("memory", why)

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """All areas are mapped: the kernel checks addresses against them and RLIMIT_DATA. Gives [heap] and [stack] their names. What
        /proc/PID/exe shows, exec has set.
        """
        words = record.mm.mm_saved_auxv
        auxv = calls.data(struct.pack(f"<{len(words)}Q", *words))
        raw = _MM_MAP.pack(*(getattr(record.mm, name) for name in _MAP), 0, 8 * len(words), _NO_FD)
        mm_map = calls.data(raw)
        calls.pointer(mm_map + _AUXV_POINTER, auxv)
        calls.add("prctl", PR_SET_MM, PR_SET_MM_MAP, mm_map, len(raw), 0, expect=0, about="set the memory descriptor")


class Executable(TaskKind[tuple[str, Stat]]):
    """(what /proc/PID/exe shows, its stat, which says where the kernel has put the parts of it). Whoever makes the process execs it."""

    name = "executable"
    links = ("exe",)
    image = "mm"

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """Programs of 32 bits have another kernel interface."""
        try:
            with Path(f"/proc/{look.pid}/exe").open("rb") as file:
                if file.read(5) == _ELF32:
                    yield look.blocker("a 32-bit program: not supported yet")
        except OSError as error:
            raise TargetError("no such process", str(look.pid)) from error

    def read(self, seen: CapturedTask) -> tuple[str, Stat]:
        """stat must be read with the right to see addresses (ptrace access), else they are 0."""
        return seen.links["exe"], seen.stat

    def save(self, value: tuple[str, Stat], images: TaskImages) -> None:
        """By the id of its path, and addresses."""
        path, stat = value
        images.mm.exe_file_id = images.files.path(path)
        for name in _IN_STAT:
            setattr(images.mm, f"mm_{name}", getattr(stat, name))


class HugePages(TaskKind[int]):
    """PR_GET_THP_DISABLE."""

    name = "huge pages"
    image = "mm"
    stage = Stage.MEMORY

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """Those of hugetlbfs are another matter."""
        if look.number(b"HugetlbPages"):
            yield look.blocker("uses huge pages (hugetlb): not supported yet")

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """0, 1, or with flags."""
        call = calls.add("prctl", PR_GET_THP_DISABLE, 0, 0, 0, 0, about="read the huge page setting")
        return lambda: call.result

    def late_blockers(self, value: int, seen: CapturedTask) -> Iterable[Blocker]:
        """Flags, which the format has no field for."""
        if value > 1:
            why = "huge pages are disabled except where advised (PR_SET_THP_DISABLE with flags), which images cannot hold"
            yield Blocker("memory", why)

    def save(self, value: int, images: TaskImages) -> None:
        """If they are disabled."""
        if value:
            images.mm.thp_disabled = True

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """Lamina's own is inherited."""
        about = "set whether huge pages are disabled"
        calls.add("prctl", PR_SET_THP_DISABLE, int(record.mm.thp_disabled), 0, 0, 0, expect=0, about=about)


class Dumpable(TaskKind[int]):
    """PR_GET_DUMPABLE: 0, 1, or 2 (SUID_DUMP_ROOT)."""

    name = "dumpable"
    image = "mm"
    stage = Stage.LAST

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Any thread will do."""
        call = calls.add("prctl", PR_GET_DUMPABLE, 0, 0, 0, 0, about="read the dumpable flag")
        return lambda: call.result

    def save(self, value: int, images: TaskImages) -> None:
        """Into the memory descriptor."""
        images.mm.dumpable = value

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """Three values."""
        if record.mm.HasField("dumpable") and record.mm.dumpable not in _DUMPABLE:
            yield f"its dumpable flag is {record.mm.dumpable}"

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """The credentials of every thread reset it. SUID_DUMP_ROOT cannot be asked for by prctl: 0, which forbids more, stands for it."""
        wanted = record.mm.dumpable if record.mm.HasField("dumpable") else 1
        calls.add("prctl", PR_SET_DUMPABLE, int(wanted == 1), 0, 0, 0, expect=0, about="set the dumpable flag")
