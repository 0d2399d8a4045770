"""The scratch range of a target: memory for batches, mapped before a freeze and unmapped after it, each by a guardian process.

The one call that maps it cannot be made in a batch. Were it made by lamina itself, a SIGKILL in the middle of it would leave the target in
the wrong place; the guardian finishes whatever happens to lamina (docs/injection.md).
"""

import errno
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from lamina.core.attach.calls import MASK64, SYSCALL_NUMBERS
from lamina.core.attach.procfs import PAGE, Area, describe, read_maps, read_stat, threads_of
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error

SYSCALL_INSTRUCTION = b"\x0f\x05"
# Keep clear of areas that grow (stack guard gap 1 MiB, brk) by this much.
MARGIN = 4 << 20
ADDRESS_LIMIT = 0x7FFF_FFFF_F000
PROT_ALL = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
MAP_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE


@cache
def _own_vdso_syscall() -> int:
    """Offset of a `syscall` instruction in the vdso, which is the same bytes in every process of this kernel."""
    vdso = next(area for area in read_maps(os.getpid()) if area.path == "[vdso]")
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(vdso.start)
        return memory.read(vdso.size).index(SYSCALL_INSTRUCTION)


def find_syscall(pid: int, areas: list[Area]) -> int:
    """Address of a `syscall` instruction in the memory of *pid*: in its vdso, else in any code it has.

    Raises:
        TargetError: there is none, or its memory may not be read.
    """
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for area in areas:
                if area.path == "[vdso]":
                    at = area.start + _own_vdso_syscall()
                    memory.seek(at)
                    if at < area.end and memory.read(2) == SYSCALL_INSTRUCTION:
                        return at
            for area in areas:
                if area.perms[2] == "x" and area.path != "[vsyscall]":
                    memory.seek(area.start)
                    found = memory.read(area.size).find(SYSCALL_INSTRUCTION)
                    if found >= 0:
                        return area.start + found
    except OSError as error:
        raise TargetError("cannot read the memory of", describe(pid), os.strerror(error.errno or 0), "run lamina as root") from error
    raise TargetError("cannot make calls in", describe(pid), "no `syscall` instruction in its memory")


def free_range(areas: list[Area], size: int) -> int:
    """An address where *size* bytes are free, in the middle of the widest gap between *areas* (ascending).

    Raises:
        TargetError: no gap is wide enough.
    """
    edges = [(area.start, area.end) for area in areas if area.start < ADDRESS_LIMIT]
    starts = [1 << 20, *(end for _, end in edges)]
    ends = [*(start for start, _ in edges), ADDRESS_LIMIT]
    width, start = max((end - start, start) for start, end in zip(starts, ends, strict=True))
    if width < size + 2 * MARGIN:
        raise TargetError("cannot map", "a scratch range", "the address space has no free gap for it")
    return (start + (width - size) // 2) // PAGE * PAGE


def map_scratch(pid: int, address: int, size: int) -> None:
    """Map the range in the running process *pid*, by a guardian; one thread of it, mostly the first, is stopped for about 0.1 ms.

    Raises:
        TargetError: it cannot be traced, no call can be made in it, or the kernel refuses the mapping.
    """
    got = guarded_call(pid, "mmap", address, size, PROT_ALL, MAP_FLAGS, -1, 0)
    if got != address:
        reason = os.strerror(-got) if -4096 < got < 0 else f"it came to lie at {got:x}"
        if got == -errno.EACCES:
            reason += "; it may have asked for no memory to be writable and executable (PR_SET_MDWE): not supported yet"
        raise TargetError("cannot map scratch memory in", describe(pid), reason)


def unmap_scratch(pid: int, address: int, size: int) -> None:
    """Unmap the range again, likewise. Nothing happens if the process is gone.

    Raises:
        TargetError: it cannot be traced, or no call can be made in it.
    """
    guarded_call(pid, "munmap", address, size)


def is_there(areas: Iterable[Area], address: int, size: int) -> bool:
    """Whether the range is among *areas*, just as it was mapped: the program may have unmapped it, or put something else there."""
    return any((area.start, area.end, area.perms, area.inode) == (address, address + size, "rwxp", 0) for area in areas)


def guarded_call(pid: int, name: str, *args: int) -> int:
    """Make one call in the running process *pid*, by a guardian. Returns what it returned, -errno on failure.

    Raises:
        TargetError: it cannot be traced, or no call can be made in it.
    """
    raw = [SYSCALL_NUMBERS[name], *(arg & MASK64 for arg in args)]
    result, err = ffi.new("int64_t *"), new_error()
    at = find_syscall(pid, read_maps(pid))
    try:
        check(C.lm_guarded_call(_able_thread(pid), at, ffi.new("uint64_t[7]", raw + [0] * (7 - len(raw))), result, err), err)
    except NativeError as error:
        raise no_calls(pid, error) from error
    return int(result[0])


def no_calls(pid: int, error: NativeError) -> TargetError:
    """What to tell of a process in which no call can be made, or none came to its end."""
    why = f"{error.detail}: not supported yet" if error.where == "unfit" else error.detail or str(error)
    return TargetError("cannot make calls in", describe(pid), why)


def _able_thread(pid: int) -> int:
    """The leader, unless it cannot be stopped now (uninterruptible sleep)."""
    for tid in threads_of(pid):
        with suppress(TargetError):  # it ended
            if read_stat(pid, tid).state not in "DZX":
                return tid
    return pid
