"""The calls of a restore that depend on the machine, tried on ourselves before anything is forked; what they need of rights and limits.

`verify` has found by then that every record could be; whether this kernel, with this user's rights, does it again, only the kernel knows.
"""

import errno
import os
import resource
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from lamina.core.attach.procfs import PAGE
from lamina.core.attach.tracee import END_SIGNALS
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, NativeError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import core_entry, mm_entry, posix_timer_entry, vma_entry
from lamina.core.kinds.memory.vmas import AreaPlan

_PROT_WRITE: Final = 2
_SELVES: Final = 16
"""Areas that a process being rebuilt needs beside those of its image: scratch range, the kernel's own, halves of split ones."""
CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RAWIO = 14, 23, 17
_LEGACY_END: Final = (1 << 47) - PAGE
_NEW_END: Final = (1 << 56) - PAGE
_MISALIGNED_SSE: Final = 1 << 17
_REAL_TIME: Final = (1, 2)
_NICE_LIMITS: Final = 20  # RLIMIT_NICE holds 20 - nice
_MM_FIELDS: Final = (
    "mm_start_code", "mm_end_code", "mm_start_data", "mm_end_data", "mm_start_brk", "mm_brk", "mm_start_stack", "mm_arg_start",
    "mm_arg_end", "mm_env_start", "mm_env_end",
)  # fmt: skip
_RLIMIT_NICE, _RLIMIT_RTPRIO, _RLIMIT_SIGPENDING = 13, 14, 11


def user_end(processor_flags: Iterable[str]) -> int:
    """First address that no program has (TASK_SIZE_MAX): higher with 5-level page tables."""
    return _NEW_END if "la57" in processor_flags else _LEGACY_END


def area_blockers(entries: Sequence[vma_entry], areas: Sequence[AreaPlan], filled: PageRuns, end: int, capabilities: int) -> list[Blocker]:
    """Why the areas of one process cannot be mapped here. *filled*: pages that will be written; *end*: see `user_end`."""
    found = list(_places(entries, end, capabilities))
    found += _locks(areas, capabilities)
    found += [blocker for blocker in _mapped(areas, filled) if blocker]
    return found[:5]


def _places(entries: Sequence[vma_entry], end: int, capabilities: int) -> Iterator[Blocker]:
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    if len(entries) + _SELVES > most:
        why = f"it has {len(entries)} areas, and a process may have {most} here"
        yield Blocker("address space", why, f"sysctl vm.max_map_count={2 * len(entries)}")
    lowest = 0 if capabilities >> CAP_SYS_RAWIO & 1 else int(Path("/proc/sys/vm/mmap_min_addr").read_text())
    for entry in entries:
        if entry.status & VmaStatus.VSYSCALL:
            continue
        if entry.start < lowest or entry.end > end:
            yield Blocker(f"area {entry.start:x}-{entry.end:x}", "no process may have memory there on this machine")


def _locks(areas: Sequence[AreaPlan], capabilities: int) -> list[Blocker]:
    locked = sum(area.end - area.start for area in areas if area.locked)
    if not locked:
        return []
    allowed = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if not capabilities >> CAP_IPC_LOCK & 1 and 0 <= allowed < locked:
        return [Blocker("locked memory", f"it has {locked} bytes, and {allowed} are allowed", "raise the limit: ulimit -l")]
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:") and locked > (available := int(line.split()[1]) << 10):
            return [Blocker("locked memory", f"it has {locked >> 20} MiB, and {available >> 20} MiB of this machine's are free")]
    return []


def _mapped(areas: Sequence[AreaPlan], filled: PageRuns) -> Iterator[Blocker | None]:
    opened = ("", 0, -1)
    try:
        for area in areas:
            if area.path and (area.path, area.open_flags) != opened[:2]:
                if opened[2] >= 0:
                    os.close(opened[2])
                    opened = ("", 0, -1)
                try:
                    # O_NONBLOCK: something else than a file may have taken the name.
                    fd = os.open(area.path, area.open_flags | os.O_CLOEXEC | os.O_NONBLOCK)
                except OSError as error:
                    yield Blocker(str(area), f"its file cannot be opened: {os.strerror(error.errno or 0)}")
                    continue
                opened = (area.path, area.open_flags, fd)
            yield _try(area, opened[2] if area.path else -1)
            if area.filled and area.path:
                yield _behind_the_end(area, opened[2], filled)
    finally:
        if opened[2] >= 0:
            os.close(opened[2])


def _try(area: AreaPlan, fd: int) -> Blocker | None:
    prot, err = area.prot | (_PROT_WRITE if area.filled else 0), new_error()
    advice = ffi.new("int[]", list(area.advice) or 1)
    try:
        check(C.lm_try_map(fd, area.end - area.start, prot, area.prot, area.flags, area.offset, advice, len(area.advice), err), err)
    except NativeError as error:
        fix = "free memory, or raise ulimit -v or vm.overcommit_memory" if error.errnum == errno.ENOMEM else ""
        return Blocker(str(area), f"{error.detail}: {error.reason}", fix)
    return None


def _behind_the_end(area: AreaPlan, fd: int, filled: PageRuns) -> Blocker | None:
    """A page of a file mapping that lies behind the end of the file cannot be written: no program can have one."""
    size = os.fstat(fd).st_size
    reach = area.start + max(0, -(-size // PAGE) * PAGE - area.offset)
    if reach < area.end and filled.clip(max(area.start, reach), area.end):
        return Blocker(str(area), f"the layer has pages of it behind the end of the file, which has {size} bytes")
    return None


def memory_blockers(entry: mm_entry) -> list[Blocker]:
    """Why the kernel would not take the memory descriptor."""
    err = new_error()
    addresses = ffi.new("uint64_t[11]", [getattr(entry, name) for name in _MM_FIELDS])
    try:
        check(C.lm_try_mm(addresses, len(entry.mm_saved_auxv), err), err)
    except NativeError as error:
        return [Blocker("memory", f"this kernel does not take where its code, data, break, stack and arguments lie: {error.reason}")]
    return []


def thread_blockers(core: core_entry, tid: int, end: int, processor_flags: Iterable[str], capabilities: int) -> list[Blocker]:
    """Why registers and scheduling of one thread cannot be put back here."""
    found = []
    registers, thread = core.thread_info, core.thread_core
    if max(registers.gpregs.fs_base, registers.gpregs.gs_base) >= end:
        found.append(Blocker("registers", f"fs_base or gs_base of thread {tid} lies outside this machine's user space"))
    if registers.fpregs.mxcsr & _MISALIGNED_SSE and "misalignsse" not in processor_flags:
        found.append(Blocker("vector registers", f"thread {tid} has a bit in mxcsr that only processors of AMD have"))
    if capabilities >> CAP_SYS_NICE & 1:
        return found
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if thread.sched_nice < min(nice, _NICE_LIMITS - resource.getrlimit(_RLIMIT_NICE)[0]):
        found.append(Blocker("scheduling", f"thread {tid} has the nice value {thread.sched_nice}", "run lamina with CAP_SYS_NICE"))
    if thread.sched_policy & 3 in _REAL_TIME and thread.sched_prio > resource.getrlimit(_RLIMIT_RTPRIO)[0]:
        found.append(Blocker("scheduling", f"thread {tid} runs in real time", "run lamina with CAP_SYS_NICE"))
    return found


def signal_blockers(queued: Sequence[int], timers: Sequence[posix_timer_entry]) -> list[Blocker]:
    """Why signals and timers of one process cannot be queued and made: each takes one of the user's RLIMIT_SIGPENDING."""
    found = []
    # CPU clocks of processes have negative numbers: those processes are not there yet.
    for clock in sorted({entry.clock_id for entry in timers if not entry.clock_id >> 31}):
        err = new_error()
        try:
            check(C.lm_try_timer(clock, err), err)
        except NativeError as error:
            found.append(Blocker("POSIX timers", f"{error.detail} here: {error.reason}"))
    allowed = resource.getrlimit(_RLIMIT_SIGPENDING)[0]
    if 0 <= allowed < len(queued) + len(timers):
        why = f"{len(queued)} queued signals and {len(timers)} timers, and {allowed} are allowed"
        found.append(Blocker("signals", why, "raise the limit: ulimit -i"))
    if not set(END_SIGNALS.values()) - set(queued):
        found.append(Blocker("signals", f"{', '.join(END_SIGNALS)} are all queued for it: one must be free to work with"))
    return found
