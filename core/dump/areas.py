"""Which mappings cannot be dumped yet, from /proc/PID/maps alone."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lamina.core.attach.procfs import Area
from lamina.core.errors import Blocker

# Beginning of the path in maps → what it is.
_MEMORY: Final = {
    "/SYSV": "System V shared memory",
    "/dev/zero (deleted)": "shared anonymous memory",
    "[anon_shmem:": "shared anonymous memory",
    "/memfd:": "a memory file (memfd)",
    "/secretmem": "secret memory (memfd_secret)",
    "/anon_hugepage": "huge pages (hugetlb)",
    "/[aio]": "asynchronous I/O (io_setup)",
    "anon_inode:[io_uring]": "an io_uring",
    "anon_inode:": "memory of a kernel object",
    "/dmabuf:": "a shared graphics buffer",
    "socket:": "a socket's ring",
    "[uprobes]": "an active uprobe (perf, bpftrace)",
}
# VmFlags of smaps, where the caller has read them.
_FLAGS: Final = {"ht": "huge pages (hugetlb)", "pf": "memory of a device", "io": "memory of a device", "ss": "a shadow stack"}


def _why(area: Area) -> str:
    for start, what in _MEMORY.items():
        if area.path.startswith(start):
            return f"{what}: not supported yet"
    for flag, what in _FLAGS.items():
        if flag in area.flags and not area.path.startswith("[v"):
            return f"{what}: not supported yet"
    if area.path.endswith(" (deleted)") and not os.path.lexists(area.path):
        return "the mapped file was deleted or replaced"
    if area.path.startswith("/dev/") and not area.path.startswith("/dev/shm/"):
        try:
            mode = Path(area.path).stat().st_mode
        except OSError:
            return "the mapped file is not there any more"
        if not stat.S_ISREG(mode) and area.path != "/dev/zero":
            return "memory of a device: not supported yet"
    return ""


def area_blockers(pid: int, areas: Iterable[Area]) -> list[Blocker]:
    """A blocker for each mapped thing that cannot be dumped; of several areas of one thing the first is named."""
    found: dict[tuple[str, str], Blocker] = {}
    for area in areas:
        if area.path and (why := _why(area)):
            fix = "start the program anew: its files were upgraded or removed under it" if why.startswith("the mapped") else ""
            found.setdefault((area.path, why), Blocker(str(area), why, fix, pid))
    return list(found.values())
