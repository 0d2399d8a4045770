"""The memory descriptor of a task ↔ `mm_entry`: where its code, data, stack, break, arguments and environment lie, auxv, dumpable."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.attach.procfs import Stat
from lamina.core.errors import Blocker, TargetError
from lamina.core.image.schema import mm_entry, vma_entry

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_MM, PR_SET_MM_MAP = 35, 14
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42
SUID_DUMP_ROOT: Final = 2
_MM_MAP: Final = struct.Struct("<11QQII")  # struct prctl_mm_map: 11 addresses, auxv, auxv_size, exe_fd
_AUXV_POINTER: Final = 88
_NO_FD: Final = 0xFFFF_FFFF
_AT_NULL: Final = bytes(16)


@dataclass(frozen=True)
class MmAnswer:
    """What only the inside knows.

    Attributes:
        brk: the current break.
        dumpable: 0, 1 or 2 (SUID_DUMP_ROOT).
        thp_disabled: PR_GET_THP_DISABLE.
    """

    brk: int
    dumpable: int
    thp_disabled: int


@dataclass(frozen=True)
class Question:
    """Calls that ask; `answer` after the run."""

    brk: Call
    dumpable: Call
    thp: Call

    def answer(self) -> MmAnswer:
        """What the calls returned."""
        return MmAnswer(self.brk.result, self.dumpable.result, self.thp.result)


def ask(calls: CallList) -> Question:
    """Append the calls (any thread of the task will do)."""
    return Question(
        calls.add("brk", 0, about="read the break"),
        calls.add("prctl", PR_GET_DUMPABLE, 0, 0, 0, 0, about="read the dumpable flag"),
        calls.add("prctl", PR_GET_THP_DISABLE, 0, 0, 0, 0, about="read the huge page setting"),
    )


def dump_blockers(answer: MmAnswer) -> list[Blocker]:
    """Settings that the format has no field for."""
    if answer.thp_disabled > 1:
        return [Blocker("memory", "huge pages are disabled except where advised (PR_SET_THP_DISABLE with flags), which images cannot hold")]
    return []


def read_auxv(pid: int) -> bytes:
    """/proc/PID/auxv.

    Raises:
        TargetError: the process is gone or hidden.
    """
    try:
        return Path(f"/proc/{pid}/auxv").read_bytes()
    except OSError as error:
        raise TargetError("cannot read", f"auxv of process {pid}", str(error.strerror)) from error


def save(stat: Stat, auxv: bytes, answer: MmAnswer, exe_file_id: int, vmas: Sequence[vma_entry]) -> mm_entry:
    """As a message. *stat* must be read with the right to see addresses (ptrace access), else they are 0.

    The pair that ends *auxv* is left out: the kernel adds it by itself, and criu 3 takes at most 22 pairs (Linux 6 has 22 beside it).
    """
    entry = mm_entry(
        mm_start_code=stat.start_code, mm_end_code=stat.end_code, mm_start_data=stat.start_data, mm_end_data=stat.end_data,
        mm_start_stack=stat.start_stack, mm_start_brk=stat.start_brk, mm_brk=answer.brk, mm_arg_start=stat.arg_start,
        mm_arg_end=stat.arg_end, mm_env_start=stat.env_start, mm_env_end=stat.env_end, exe_file_id=exe_file_id,
        mm_saved_auxv=memoryview(auxv.removesuffix(_AT_NULL)).cast("Q").tolist(), vmas=vmas, dumpable=answer.dumpable,
    )  # fmt: skip
    if answer.thp_disabled:
        entry.thp_disabled = True
    return entry


def rebuild(entry: mm_entry, calls: CallList, exe_fd: int = -1) -> None:
    """Step 9, in the leader, after all areas are mapped (the kernel checks addresses against them and RLIMIT_DATA, so before
    `rlimits.rebuild`). Gives [heap] and [stack] their names. *exe_fd*: a descriptor in the task whose file becomes /proc/PID/exe, or -1 if
    exec has set it already.
    """
    words = entry.mm_saved_auxv
    auxv = calls.data(struct.pack(f"<{len(words)}Q", *words))
    raw = _MM_MAP.pack(
        entry.mm_start_code, entry.mm_end_code, entry.mm_start_data, entry.mm_end_data, entry.mm_start_brk, entry.mm_brk,
        entry.mm_start_stack, entry.mm_arg_start, entry.mm_arg_end, entry.mm_env_start, entry.mm_env_end, 0, 8 * len(words),
        exe_fd & _NO_FD,
    )  # fmt: skip
    mm_map = calls.data(raw)
    calls.pointer(mm_map + _AUXV_POINTER, auxv)
    calls.add("prctl", PR_SET_MM, PR_SET_MM_MAP, mm_map, len(raw), 0, expect=0, about="set the memory descriptor")
    calls.add("prctl", PR_SET_THP_DISABLE, int(entry.thp_disabled), 0, 0, 0, expect=0, about="set whether huge pages are disabled")


def rebuild_dumpable(entry: mm_entry, calls: CallList) -> None:
    """Step 11, in the leader, after `creds.rebuild` in every thread, which resets it. SUID_DUMP_ROOT cannot be asked for by prctl: 0, which
    forbids more, stands for it.
    """
    wanted = entry.dumpable if entry.HasField("dumpable") else 1
    calls.add("prctl", PR_SET_DUMPABLE, int(wanted == 1), 0, 0, 0, expect=0, about="set the dumpable flag")
