"""Who holds which pipe or socket, also outside a tree."""

import errno
import os
import re
from collections.abc import Collection, Iterable
from typing import Final

from lamina.core.ffi import C, check, ffi, new_error

_LINK: Final = re.compile(r"(pipe|socket):\[(\d{1,19})\]")


class ObjectHolders:
    """Who holds which pipe or socket, by one look through the descriptors of every process: several examinations may share it for a moment.

    They are named by where their descriptors lead, as in "pipe:[4711]".
    """

    def __init__(self, links: Iterable[str] = ()) -> None:
        """Look for *links* too when first asked about any."""
        self._wanted = set(links)
        self._found: dict[str, list[tuple[int, int]]] | None = None

    def outside(self, link: str, pids: Collection[int], others: Iterable[str] = ()) -> list[tuple[int, int]]:
        """Who outside *pids* holds *link*, as (pid, open flags). *others* will be asked about next; nobody holds what is no pipe or socket.

        Raises:
            NativeError: /proc cannot be listed.
        """
        if self._found is None or link not in self._wanted:
            self._wanted |= {link, *others}
            self._found = _all_holders(self._wanted)
        return [(pid, flags) for pid, flags in self._found.get(link, []) if pid not in pids]


def links_of(pids: Iterable[int]) -> set[str]:
    """All pipes and sockets that *pids* hold; what ends or may not be read has none."""
    found = set()
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                found |= {link for entry in entries if _LINK.fullmatch(link := os.readlink(entry.path))}
        except OSError:
            continue
    return found


def _all_holders(links: Collection[str]) -> dict[str, list[tuple[int, int]]]:
    wanted = sorted({int(match[2]) for link in links if (match := _LINK.fullmatch(link))})
    err, unreadable, room = new_error(), ffi.new("int *"), 256
    while True:
        found = ffi.new("lm_holder[]", room)
        count = C.lm_holders(wanted, len(wanted), found, room, unreadable, err)
        if count >= 0 or err.errnum != errno.ENOSPC:
            break
        room *= 8
    holders: dict[str, list[tuple[int, int]]] = {}
    for holder in found[0 : check(count, err)]:
        holders.setdefault(f"{'socket' if holder.is_socket else 'pipe'}:[{holder.inode}]", []).append((holder.pid, holder.flags))
    return holders
