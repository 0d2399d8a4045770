"""The tracker for kernels and processes that cannot be tracked: every page with data counts as changed, and the reports say so."""

from collections.abc import Iterable
from dataclasses import replace
from errno import ENOTTY
from typing import Any

import numpy as np
from typing_extensions import override

from lamina.core.attach.calls import Inside
from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import Area
from lamina.core.dirty.held import clear_out
from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.dirty.scan import Scanner, is_private
from lamina.core.dirty.tracker import Report, Tracker
from lamina.core.errors import NativeError

NAME = "none"
# Entries of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
_PRESENT = np.uint64(1 << 63)
_SWAP = np.uint64(1 << 62)
_FILE = np.uint64(1 << 61)
_GUARD = np.uint64(1 << 58)
_FRAME = np.uint64((1 << 55) - 1)
_TYPE = np.uint64(31)
_CHUNK_PAGES = 65536


class UntrackedTracker(Tracker):
    """Knows which pages have data, never which of them changed.

    Attributes:
        reason: why nothing better is used, for the notice to the user.
    """

    name = NAME

    def __init__(self, identity: Identity, reason: str, by_entries: bool = False) -> None:
        """by_entries: read page map entries even where PAGEMAP_SCAN works (a kernel before 6.7 has nothing else)."""
        super().__init__(identity)
        self.reason = reason
        self._by_entries = by_entries
        self._scanner = Scanner(identity)

    def arm(self, inside: Inside, areas: Iterable[Area]) -> None:
        """Nothing is put into the target."""
        self._scanner.reopen()

    def extend(self, areas: Iterable[Area], live: bool = True) -> PageRuns:
        """Returns all private areas: none of them is tracked."""
        return PageRuns.of((area.start, area.end) for area in areas if is_private(area))

    def protect(self, areas: Iterable[Area], live: bool) -> Report:
        """Everything with data, as changed. Protects nothing."""
        listed = list(areas)
        if not self._by_entries:
            try:
                return _all_changed(self._scanner.scan(listed, protect=False, live=live))
            except NativeError as error:
                if error.errnum != ENOTTY:
                    raise
                self._by_entries = True
        return self._read_entries(listed)

    def peek(self, areas: Iterable[Area]) -> Report:
        """As `protect`."""
        return self.protect(areas, live=True)

    def scan_shared(self, areas: Iterable[Area], protect: bool, live: bool) -> tuple[PageRuns, PageRuns]:
        """All of it, as not tracked."""
        everything = PageRuns.of((area.start, area.end) for area in areas)
        return everything, everything

    def unprotect(self, runs: PageRuns, live: bool = True) -> None:
        """Nothing was protected."""

    def disarm(self, inside: Inside | None) -> None:
        """Nothing of this tracker is in the target; what it inherited from a tracked parent is closed."""
        if inside is not None:
            clear_out(self.identity, inside)

    @override
    def close(self) -> None:
        self._scanner.close()

    def _read_entries(self, areas: list[Area]) -> Report:
        pages: list[Addresses] = []
        guards: list[Addresses] = []
        for area in areas:
            if not is_private(area):
                continue
            for start in range(area.start, area.end, _CHUNK_PAGES * PAGE):
                count = min(_CHUNK_PAGES, (area.end - start) // PAGE)
                entries = self._scanner.entries(start, count)
                # A marker is an entry of swap type 31; a hidden entry (0) may be one, and is taken for data.
                marker = ((entries & _GUARD) != 0) | (((entries & _TYPE) == _TYPE) & ((entries & _FRAME) != 0))
                there = ((entries & _PRESENT) != 0) | (((entries & _SWAP) != 0) & ~marker)
                if area.is_file:
                    # Bit 61: still the file's own page. On anonymous memory the huge zero page has it, too.
                    there &= ~(((entries & _PRESENT) != 0) & ((entries & _FILE) != 0))
                pages.append(_addresses(start, there))
                guards.append(_addresses(start, (entries & _GUARD) != 0))
        found = _joined(pages)
        outside = tuple(area for area in areas if not is_private(area))
        return Report(found, found, untracked=found, outside=outside, guards=_joined(guards))


def _addresses(start: int, which: Any) -> Addresses:
    return np.uint64(start) + np.flatnonzero(which).astype(np.uint64) * np.uint64(PAGE)


def _joined(pages: list[Addresses]) -> PageRuns:
    return PageRuns.from_pages(np.concatenate(pages)) if pages else PageRuns.empty()


def _all_changed(report: Report) -> Report:
    return replace(report, changed=report.data, untracked=report.data)
