"""What tells which pages of a process changed, behind one small interface.

A tracker answers only "since the last `protect`"; which layer that was is `state.py`'s business. It is bound to one process, and all it
says is about private memory: shared memory belongs to its object, which `shared_memory.py` looks at through all its mappings.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from lamina.core.attach.calls import Inside
from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import Area
from lamina.core.dirty.runs import PageRuns


@dataclass(frozen=True)
class Capability:
    """Whether a tracker works here, found by doing.

    Attributes:
        name: the tracker, as in "uffd-wp async".
        available: it works.
        reason: why not, in words; "" if it works.
    """

    name: str
    available: bool
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """What one scan found in the private areas it was given.

    A page has data if it is present or in swap, is not the zero page and, in a private mapping of a file, no longer is the file's own page.
    Everything else needs no entry in a layer: it is zero (anonymous memory) or comes from its file.

    Attributes:
        changed: pages with data that were written since the last `protect`, or about which nothing is known.
        data: all pages with data.
        zero: pages of anonymous memory that are mapped and read as zero; none of them is in `data`.
        untracked: those of `changed` that are there only because their area is not tracked (new, moved, never registered).
        guards: guard pages (MADV_GUARD_INSTALL); none of them has data.
        outside: areas of the request about which this report says nothing: shared memory, and what no one can read ([vvar], device memory).
    """

    changed: PageRuns = field(default_factory=PageRuns.empty)
    data: PageRuns = field(default_factory=PageRuns.empty)
    zero: PageRuns = field(default_factory=PageRuns.empty)
    untracked: PageRuns = field(default_factory=PageRuns.empty)
    outside: tuple[Area, ...] = ()
    guards: PageRuns = field(default_factory=PageRuns.empty)

    @property
    def clean(self) -> PageRuns:
        """Pages with data that certainly were not written. In a layer: inherited if the parent's map has them, else written."""
        return self.data - self.changed

    @property
    def present(self) -> PageRuns:
        """All pages that are there: `data` and `zero`."""
        return self.data | self.zero


class Tracker(ABC):
    """Tells which pages of one process changed since the last `protect`.

    Attributes:
        name: as the sidecar and the screen show it.
        pid, identity: the process it is bound to.
    """

    name: str

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.pid = identity.pid

    @abstractmethod
    def arm(self, inside: Inside, areas: Iterable[Area]) -> None:
        """Begin (or go on) tracking: called inside a freeze. Registers all private areas of *areas*; protects nothing.

        Raises:
            TargetError: this process cannot be tracked by this tracker; nothing stays in it.
        """

    @abstractmethod
    def extend(self, areas: Iterable[Area], live: bool = True) -> PageRuns:
        """Register areas that are new since `arm`, from outside; *areas* are all areas of the process.

        live: the target runs, and areas may grow meanwhile.

        Returns what could not be registered; `protect` reports that as untracked.
        """

    @abstractmethod
    def protect(self, areas: Iterable[Area], live: bool) -> Report:
        """Report what changed and begin the next period, in one step that no write can slip through.

        live: the target runs, so the scan works in slices of 16 MiB with pauses of 50 µs, in which its own mmap and munmap get their turn.
        Copy the reported pages after this call: what is written later is in the next report.
        """

    @abstractmethod
    def peek(self, areas: Iterable[Area]) -> Report:
        """As `protect`, but changes nothing: for display and estimates, never for a dump."""

    @abstractmethod
    def scan_shared(self, areas: Iterable[Area], protect: bool, live: bool) -> tuple[PageRuns, PageRuns]:
        """Of mappings of shared memory: pages written through them since the last *protect*, or about which nothing is known; and the
        mappings that are not tracked. What others write into the same memory is not seen here: see `shared_memory.py`.
        """

    @abstractmethod
    def unprotect(self, runs: PageRuns, live: bool = True) -> None:
        """Let *runs* read as changed again: gives back what `protect` consumed when the dump failed."""

    @abstractmethod
    def disarm(self, inside: Inside | None) -> None:
        """End tracking. With *inside* (in a freeze) nothing of it stays in the target; without, an inert descriptor stays."""

    @abstractmethod
    def close(self) -> None:
        """Let go of lamina's own descriptors. Tracking goes on in the target. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
