"""The scratch range of a target: memory for batches, mapped before a freeze and unmapped after it, each by a guardian process.

The one call that maps it cannot be made in a batch. Were it made by lamina itself, a SIGKILL in the middle of it would leave the target in
the wrong place; the guardian finishes whatever happens to lamina (docs/injection.md).
"""

import errno
import mmap
import os
from collections.abc import Iterable

from lamina.core.attach.guarded import guarded_calls
from lamina.core.attach.procfs import PAGE, Area, describe
from lamina.core.errors import TargetError

# Keep clear of areas that grow (stack guard gap 1 MiB, brk) by this much.
MARGIN = 4 << 20
ADDRESS_LIMIT = 0x7FFF_FFFF_F000
PROT_ALL = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
MAP_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE


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
    (got,) = guarded_calls(pid, [("mmap", address, size, PROT_ALL, MAP_FLAGS, -1, 0)])
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
    guarded_calls(pid, [("munmap", address, size)], any_thread=True)


def is_there(areas: Iterable[Area], address: int, size: int) -> bool:
    """Whether the range is among *areas*, just as it was mapped: the program may have unmapped it, or put something else there."""
    return any((area.start, area.end, area.perms, area.inode) == (address, address + size, "rwxp", 0) for area in areas)
