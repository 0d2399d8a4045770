"""How much of a tree a dump would write now, by looking at the page maps of its tasks. Protects nothing, stops nobody."""

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import PAGE, read_maps, tree_of
from lamina.core.dirty.scan import Scanner
from lamina.core.errors import LaminaError, TargetError


class Dirtied:
    """Looks at one tree again and again; used from one thread at a time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._scanners: dict[Identity, Scanner] = {}

    def count(self) -> int:
        """Bytes written in the tree since it was last dumped. A child that is new, and so not tracked yet, counts with all it has.

        Raises:
            TargetError: the root has ended, or may not be read.
        """
        before, self._scanners = self._scanners, {}
        pages = 0
        try:
            for pid in tree_of(self._pid):
                try:
                    who = identify(pid)
                    scanner = self._scanners[who] = before.pop(who) if who in before else Scanner(who)
                    pages += _changed(pid, scanner)
                except LaminaError:
                    if pid == self._pid:
                        raise
        finally:
            _close(before)
        return pages * PAGE

    def close(self) -> None:
        """Let go of the page maps."""
        _close(self._scanners)
        self._scanners = {}


def _changed(pid: int, scanner: Scanner) -> int:
    try:
        return scanner.scan(read_maps(pid), protect=False, live=True).changed.pages
    except TargetError:
        scanner.reopen()  # another program runs in it now, unless it has ended
        return scanner.scan(read_maps(pid), protect=False, live=True).changed.pages


def _close(scanners: dict[Identity, Scanner]) -> None:
    for scanner in scanners.values():
        scanner.close()
