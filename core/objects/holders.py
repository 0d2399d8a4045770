"""Who holds which pipe, also outside a tree."""

import errno
import os
from collections.abc import Collection, Iterable

from lamina.core.ffi import C, check, ffi, new_error


class PipeHolders:
    """Who holds which pipe, by one look through the descriptors of every process: several examinations may share it for a moment."""

    def __init__(self, inodes: Iterable[int] = ()) -> None:
        """Look for *inodes* too when first asked about any."""
        self._wanted = set(inodes)
        self._found: dict[int, list[tuple[int, int]]] | None = None

    def outside(self, inode: int, pids: Collection[int], others: Iterable[int] = ()) -> list[tuple[int, int]]:
        """Who outside *pids* holds the pipe *inode*, as (pid, open flags). *others* will be asked about next.

        Raises:
            NativeError: /proc cannot be listed.
        """
        if self._found is None or inode not in self._wanted:
            self._wanted |= {inode, *others}
            self._found = _all_holders(self._wanted)
        return [(pid, flags) for pid, flags in self._found.get(inode, []) if pid not in pids]


def pipes_of(pids: Iterable[int]) -> set[int]:
    """The inodes of all pipes that *pids* hold; what ends or may not be read has none."""
    found = set()
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                links = [os.readlink(entry.path) for entry in entries]
        except OSError:
            continue
        found |= {int(link[6:-1]) for link in links if link.startswith("pipe:[")}
    return found


def _all_holders(inodes: Collection[int]) -> dict[int, list[tuple[int, int]]]:
    wanted = sorted(inodes)
    err, unreadable, room = new_error(), ffi.new("int *"), 256
    while True:
        found = ffi.new("lm_holder[]", room)
        count = C.lm_pipe_holders(wanted, len(wanted), found, room, unreadable, err)
        if count >= 0 or err.errnum != errno.ENOSPC:
            break
        room *= 8
    holders: dict[int, list[tuple[int, int]]] = {}
    for holder in found[0 : check(count, err)]:
        holders.setdefault(holder.inode, []).append((holder.pid, holder.flags))
    return holders
