"""The calls of a restore that depend on the machine, tried on ourselves before anything is forked; what they need of rights and limits.

`verify` has found by then that every record could be; whether this kernel, with this user's rights, does it again, only the kernel knows.
"""

import errno
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lamina.core.attach.procfs import PAGE
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, NativeError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry
from lamina.core.kinds.memory.vmas import AreaPlan

_PROT_WRITE: Final = 2
_SELVES: Final = 16
"""Areas that a process being rebuilt needs beside those of its image: scratch range, the kernel's own, halves of split ones."""
CAP_IPC_LOCK, CAP_SYS_RAWIO = 14, 17


def area_blockers(entries: Sequence[vma_entry], areas: Sequence[AreaPlan], filled: PageRuns, end: int, capabilities: int) -> list[Blocker]:
    """Why the areas of one process cannot be mapped here. *filled*: pages that will be written; *end*: see `machine.user_end`."""
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
