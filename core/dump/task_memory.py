"""The memory of one task during one dump: what changed, what was copied, what the layer will own and what it inherits.

The tracker only answers "since the last scan", and a dump scans several times: the union of all reports is what changed since the parent
layer. A layer's own pages are that union, and whatever the parent's map does not have.
"""

from collections.abc import Callable, Iterable

from lamina.core.attach.procfs import Area, read_maps
from lamina.core.dirty.runs import PageRuns
from lamina.core.dirty.tracker import Report, Tracker
from lamina.core.dump.destination import PageSink
from lamina.core.dump.memory import Moved
from lamina.core.kinds.memory.vmas import Pages, pages_of


class TaskMemory:
    """One task's pages between the first scan and the finished pages file.

    Attributes:
        pid: the task.
        tracker: what reports its changes.
        parent: pages the parent layer has for this task and that may be inherited; empty if nothing may be.
        consumed: everything scans have reported as changed so far; given back to the tracker if the dump fails.
        own, inherited: after the freeze: what the layer holds itself, and what it leaves to its parent.
        scanned: pages looked at by the last scan.
        guards: guard pages found by the last scan.
        certain: `consumed` is all that was protected; False if a scan failed on its way.
        doubtful: pages that a live round protected while somebody may have had them pinned: what was copied of them may be old.
    """

    def __init__(self, pid: int, tracker: Tracker, parent: PageRuns) -> None:
        self.pid = pid
        self.tracker = tracker
        self.parent = parent
        self._store: PageSink | None = None
        self.consumed = PageRuns.empty()
        self.own = PageRuns.empty()
        self.inherited = PageRuns.empty()
        self.scanned = 0
        self.guards = PageRuns.empty()
        self.certain = True
        self.doubtful = PageRuns.empty()
        self._found = PageRuns.empty()

    def begin(self, store: PageSink) -> None:
        """From here on pages are copied, into *store*."""
        self._store = store

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return self._store is not None

    @property
    def store(self) -> PageSink:
        """Where its pages go."""
        if self._store is None:
            raise RuntimeError("no pages can be copied before `begin`")
        return self._store

    def look(self, areas: Iterable[Area]) -> PageRuns:
        """What the layer would have to own if the target stopped now. Protects nothing."""
        return self.expected(self.tracker.peek(areas))

    def expected(self, report: Report) -> PageRuns:
        """What the layer would have to own if the target stopped at *report*."""
        return (report.data & (self.consumed | report.changed)) | (report.data - self.parent)

    def protect_live(self, areas: Iterable[Area]) -> None:
        """The first half of a live round: report and protect, while the target runs."""
        report = self._scan(areas, live=True)
        self._found = report.changed | (self.expected(report) - self.store.spooled)
        self.doubtful |= report.changed

    def live_round(self) -> None:
        """`protect_live` of all that the running task maps by now, which is watched from here on.

        Raises:
            TargetError: it has ended.
        """
        areas = read_maps(self.pid)
        self.tracker.extend(areas)
        self.protect_live(areas)

    def landed(self) -> None:
        """A grace period went by since the last `protect_live`: nothing is pinned any more that was protected then."""
        self.doubtful = PageRuns.empty()

    def copy_live(self, moved: Moved) -> int:
        """The second half of a live round: copy what it found; returns the pages copied."""
        found, self._found = self._found, PageRuns.empty()
        self.store.add(found, moved)
        return found.pages

    def freeze_round(self, areas: Iterable[Area], moved: Moved, straight: bool) -> None:
        """The last scan, inside the freeze, and the copy of the residue: to warm memory, or *straight* to the file if nobody waits."""
        listed = list(areas)
        report = self._scan(listed, live=False)
        # The vdso goes into the image whole, as CRIU compares and patches it page by page; the page map shows only what was touched.
        whole = PageRuns.of((area.start, area.end) for area in listed if pages_of(area) is Pages.WHOLE)
        self.own = self.expected(report) | whole
        self.inherited = report.data - self.own
        residue = (self.own & (report.changed | self.doubtful | self.store.lost)) | (self.own - self.store.spooled)
        copy: Callable[[PageRuns, Moved], None] = self.store.add if straight else self.store.add_residue
        copy(residue, moved)

    def own_too(self, runs: PageRuns, moved: Moved) -> None:
        """Inside the freeze, after the last round: *runs* are not what they were taken for; the layer has them itself, copied now."""
        self.own |= runs
        self.inherited -= runs
        self.store.add_residue(runs, moved)

    def finish(self, moved: Moved) -> None:
        """Deliver what the layer owns, and its map. Outside the freeze."""
        self.store.deliver(self.own, self.inherited, moved)

    def give_back(self) -> None:
        """The dump failed: let the tracker report again what it has reported to us."""
        if self.consumed:
            self.tracker.unprotect(self.consumed)

    def _report(self, areas: Iterable[Area], live: bool) -> Report:
        return self.tracker.protect(areas, live)

    def _scan(self, areas: Iterable[Area], live: bool) -> Report:
        self.certain = False
        report = self._report(areas, live)
        self.certain = True
        self.consumed |= report.changed
        self.scanned = report.present.pages
        self.guards = report.guards
        return report
