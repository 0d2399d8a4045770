"""Watches a dump: tells listeners how far it is, and keeps CRIU's statistics."""

import time

from lamina.core.attach.procfs import PAGE
from lamina.core.dump.request import DumpStats
from lamina.core.events import Listener, Notice, Progress

# Listeners are told at most this often.
INTERVAL_NS = 20_000_000


class Meter:
    """Times and counts of one dump.

    Attributes:
        notices: sentences told so far.
        live_rounds: rounds copied before the freeze.
        pages_scanned, pages_inherited, pages_written: as the freeze left them, pages.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._began = time.monotonic_ns()
        self._told = 0
        self._phase = ""
        self._moved = 0
        self._expected = 0
        self._marks: dict[str, int] = {}
        self.notices: list[str] = []
        self.live_rounds = 0
        self.pages_scanned = self.pages_inherited = self.pages_written = 0

    def notice(self, text: str) -> None:
        """Tell the user a sentence."""
        self.notices.append(text)
        self._listener(Notice(text))

    def phase(self, name: str, pages: int = 0) -> None:
        """A new phase begins, which will move *pages* pages (0: not known)."""
        self._phase, self._moved, self._expected = name, 0, pages
        self._tell()

    def moved(self, size: int) -> None:
        """*size* bytes more were moved in this phase."""
        self._moved += size
        if time.monotonic_ns() - self._told > INTERVAL_NS:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic_ns()
        self._listener(Progress(self._phase, self._moved // PAGE, self._expected, self._moved, self.elapsed_us))

    def mark(self, name: str, at_ns: int | None = None) -> None:
        """Remember when something happened (CLOCK_MONOTONIC): "stopping", "frozen", "copied", "thawed", "writing", "written"."""
        self._marks[name] = time.monotonic_ns() if at_ns is None else at_ns

    def between(self, first: str, last: str) -> int:
        """µs between two marks; 0 if one was not reached."""
        if first not in self._marks or last not in self._marks:
            return 0
        return max(0, self._marks[last] - self._marks[first]) // 1000

    @property
    def elapsed_us(self) -> int:
        """µs since the dump began."""
        return (time.monotonic_ns() - self._began) // 1000

    def stats(self) -> DumpStats:
        """CRIU's statistics."""
        return DumpStats(
            freezing_time=self.between("stopping", "frozen"),
            frozen_time=self.between("frozen", "thawed"),
            memdump_time=self.between("scanning", "copied"),
            memwrite_time=self.between("writing", "written"),
            pages_scanned=self.pages_scanned,
            pages_skipped_parent=self.pages_inherited,
            pages_written=self.pages_written,
        )
