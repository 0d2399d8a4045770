"""Files whose content is memory to the program: mapped shared and writable, or in /dev/shm. No layer has it: the file is the user's, and a
restored program meets it as it is then. That is said at dump and at restore.
"""

from collections.abc import Iterable
from typing import Final

from lamina.core.attach.procfs import Area
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry
from lamina.core.kinds.memory.vma_flags import PROT_WRITE
from lamina.core.objects.paths import PathOf

_SHM: Final = "/dev/shm/"
_NAMED: Final = 4
_READ_ONLY: Final = 0


def mapped(areas: Iterable[Area]) -> set[str]:
    """Paths of what is mapped shared and may be written, or lies in /dev/shm."""
    return {
        area.path
        for area in areas
        if area.is_file and ((area.shared and (area.prot & PROT_WRITE or "mw" in area.flags)) or area.path.startswith(_SHM))
    }


def in_shm(paths: Iterable[str]) -> set[str]:
    """Those of *paths* that lie in /dev/shm."""
    return {path for path in paths if path.startswith(_SHM)}


def of_image(entries: Iterable[vma_entry], path_of: PathOf) -> set[str]:
    """As `mapped`, from an image.

    Raises:
        ImageError: an entry names a file that files.img has not.
    """
    found = set()
    for entry in entries:
        if entry.status & (VmaStatus.FILE_SHARED | VmaStatus.FILE_PRIVATE):
            path = path_of(entry.shmid)
            may_write = entry.prot & PROT_WRITE or (entry.HasField("fdflags") and entry.fdflags & 3 != _READ_ONLY)
            if path.startswith(_SHM) or (entry.status & VmaStatus.FILE_SHARED and may_write):
                found.add(path)
    return found


def notices(paths: Iterable[str]) -> tuple[str, ...]:
    """One sentence that names them, or none."""
    listed = sorted(set(paths))
    if not listed:
        return ()
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    names = f"{', '.join(listed[:_NAMED])}{more}"
    return (f"shared memory in files is not in a layer, and is met as it is at restore: {names}",)
