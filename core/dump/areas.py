"""Which mappings cannot be dumped, from /proc/PID/maps alone; what only VmFlags tell (smaps, ms for each GiB) is refused by the dump."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lamina.core.attach.procfs import Area
from lamina.core.errors import Blocker
from lamina.core.kinds.memory import vmas

# Memory that looks like a deleted file.
_MEMORY: Final = {
    "/anon_hugepage": "huge pages (hugetlb)",
    "/secretmem": "secret memory (memfd_secret)",
    "/dmabuf:": "a shared graphics buffer",
}
_PLAIN_DEVICES: Final = frozenset({"/dev/zero"})


def _why(area: Area) -> str:
    for start, what in _MEMORY.items():
        if area.path.startswith(start):
            return f"{what} is not supported"
    if area.is_file and area.path.startswith("/dev/") and not area.path.endswith(" (deleted)") and area.path not in _PLAIN_DEVICES:
        try:
            mode = Path(area.path).stat().st_mode
        except OSError as error:
            return f"the mapped file cannot be reached: {os.strerror(error.errno or 0)}"
        if not stat.S_ISREG(mode):
            return "memory of a device is not supported"
    return ""


def area_blockers(pid: int, areas: Iterable[Area]) -> list[Blocker]:
    """A blocker for each mapped thing that cannot be dumped; of several areas of one thing the first is named."""
    found: dict[tuple[str, str], Blocker] = {}
    for area in areas:
        if not area.path and not area.shared:
            continue
        why = _why(area)
        blocker = Blocker(str(area), why, pid=pid) if why else vmas.blocker(area, pid)
        if blocker:
            found.setdefault((area.path, blocker.why), blocker)
    return list(found.values())
