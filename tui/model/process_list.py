"""The process screen without its widgets: what is known, what the user wants (filter, order, folds), and the rows that result."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lamina.core.attach.processes import ProcessInfo
from lamina.tui.model import tree
from lamina.tui.model.examined import Examined
from lamina.tui.model.layer_status import LayerStatus
from lamina.tui.model.process_filter import Filter, searchable
from lamina.tui.model.processes import Processes
from lamina.tui.model.tree import TreeRow

# The parent of all kernel threads: some hundred rows that cannot be dumped, so they start folded.
KTHREADD = 2
ENDED = "it has ended"
# How old the findings may be of the process under the cursor, and of the others on the screen, s; and how many times as old as they took.
_CLOSE_S, _PASSING_S, _REST = 1.5, 10.0, 20


@dataclass(frozen=True)
class Order:
    """A flat list in the order of one column.

    Attributes:
        column: its name.
        key: the value to sort by.
        descending: highest first.
    """

    column: str
    key: Callable[["ProcessList", ProcessInfo], Any]
    descending: bool


@dataclass
class ProcessList:
    """What the rows of the screen are made of.

    Attributes:
        processes: the table as last read.
        by_pid: its processes and the one that ended under the cursor.
        examined, layer_status: what is known of some, by pid.
        filter: the hits only, or None for all.
        hits: how many processes match the filter.
        order: None for the tree.
        folded: pids whose children are hidden; `folded_hits` the same while there is a filter, which shows hits wherever they are.
        following: the pid that keeps its line on the screen, or None.
        terminals: who shows the programs that run in terminals of lamina's, in words by pid; "" for nobody.
    """

    processes: Processes = field(default_factory=Processes)
    by_pid: dict[int, ProcessInfo] = field(default_factory=dict)
    examined: dict[int, Examined] = field(default_factory=dict)
    layer_status: dict[int, LayerStatus] = field(default_factory=dict)
    filter: Filter | None = None
    hits: int = 0
    order: Order | None = None
    folded: set[int] = field(default_factory=lambda: {KTHREADD})
    folded_hits: set[int] = field(default_factory=set)
    following: int | None = None
    terminals: Mapping[int, str] = field(default_factory=dict)
    _ended: ProcessInfo | None = None

    def take(self, processes: Processes, cursor: int | None) -> None:
        """The table was read again. If the process under the *cursor* is gone, its row stays, so that no other one takes its place."""
        gone = self.by_pid.get(cursor) if cursor is not None and cursor not in processes.by_pid else None
        # Where it was: below the nearest of its ancestors that still runs.
        parent = self.shown_for(gone.ppid, processes.by_pid) if gone is not None else None
        self._ended = replace(gone, ppid=parent or 0, state="X", protected=ENDED) if gone is not None else None
        self.processes = processes
        self.by_pid = processes.by_pid if self._ended is None else {**processes.by_pid, self._ended.pid: self._ended}
        for known in (self.examined, self.layer_status):
            for pid in [pid for pid in known if pid not in self.by_pid]:
                del known[pid]

    def examination(self, process: ProcessInfo) -> Examined | None:
        """What was found about it; None if it was not examined, or was another program then."""
        examined = self.examined.get(process.pid)
        return examined if examined is not None and examined.is_of(process) else None

    def to_examine(self, cursor: int | None, visible: Iterable[int], now: float) -> list[tuple[ProcessInfo, bool]]:
        """Which processes to examine next, and whether closely; *now* is monotonic, s.

        First the one under the cursor, then those on the screen that were not examined yet, then those whose examination is the longest
        ago. What took long is examined less often.
        """
        wanted: list[tuple[float, ProcessInfo, bool]] = []
        for pid in dict.fromkeys((*([cursor] if cursor is not None else ()), *visible)):
            process = self.by_pid.get(pid)
            if process is None or process.protected or not process.user:
                continue  # what psutil says of a new process may make it another program than the one that was examined
            closely, examined = pid == cursor, self.examination(process)
            if examined is None or (closely and not examined.closely):
                wanted.append((0.0 if closely else 1.0, process, closely))
            elif now - examined.moment > max(_CLOSE_S if closely else _PASSING_S, _REST * examined.took):
                wanted.append((0.0 if closely else 2.0 + examined.moment, process, closely))
        return [(process, closely) for _, process, closely in sorted(wanted, key=lambda it: it[0])]

    def rows(self) -> list[TreeRow]:
        """The rows to show. A sorted list leaves out the kernel's threads while they are folded in the tree."""
        processes, ended = self.processes.rows, self._ended
        if ended is not None:
            processes = (*processes, ended)
        hits = None
        if self.filter is not None:
            texts = self.processes.texts
            if ended is not None:
                texts = [*texts, (ended.pid, searchable(ended.pid, ended.name, ended.cmdline))]
            hits = self.filter.hits(texts)
            self.hits = len(hits)
        order = self.order
        if order is None:
            return tree.arrange(processes, hits, self.folded if hits is None else self.folded_hits)
        if hits is not None:
            chosen = [it for it in processes if it.pid in hits]
        else:
            hidden = KTHREADD if KTHREADD in self.folded else None
            chosen = [it for it in processes if hidden is None or hidden not in (it.pid, it.ppid)]
        if ended is not None:
            chosen.sort(key=lambda it: it.pid)  # like all others: equal ones keep their order
        chosen.sort(key=lambda it: order.key(self, it), reverse=order.descending)
        return tree.in_order(it.pid for it in chosen)

    @property
    def title(self) -> str:
        """What the rows are: the tree or a sorted list, and which process the view follows."""
        order, followed = self.order, self.by_pid.get(self.following or 0)
        title = f"by {order.column} {'↓' if order.descending else '↑'}" if order else "tree"
        return f"{title} · following {followed.name} {followed.pid}" if followed is not None else title

    @property
    def found(self) -> str:
        """What the filter found; "" without one."""
        hits = f"{self.hits:,} {'hit' if self.hits == 1 else 'hits'}"
        return f"{hits} for /{self.filter.line}" if self.filter else ""

    def next_order(self, orders: Sequence[Order], by: int) -> Order | None:
        """The order *by* steps after the current one among *orders*; the tree comes between the last and the first."""
        ring = [None, *orders]
        names = [order.column if order else "" for order in ring]
        now = self.order.column if self.order else ""
        return ring[((names.index(now) if now in names else 0) + by) % len(ring)]

    def order_after_click(self, order: Order) -> Order | None:
        """What a click on the title of *order*'s column changes to: sorted by it, the other way round, the tree."""
        now = self.order
        if now is None or now.column != order.column:
            return order
        return replace(order, descending=not order.descending) if now.descending == order.descending else None

    def shown_for(self, pid: int, rows: Collection[int]) -> int | None:
        """*pid* if it is in *rows*, else the nearest of its ancestors that is."""
        seen = set()
        while pid not in rows:
            process = self.by_pid.get(pid)
            if process is None or pid in seen:
                return None
            seen.add(pid)
            pid = process.ppid
        return pid

    def reveal(self, pid: int) -> list[TreeRow]:
        """The rows, including *pid* if there is such a process: folds above it are opened and, if necessary, filter and order removed."""
        above, seen = self.by_pid.get(pid), set[int]()
        while above is not None and above.pid not in seen:
            seen.add(above.pid)
            self._folds().discard(above.ppid)
            above = self.by_pid.get(above.ppid)
        rows = self.rows()
        if (self.filter or self.order) and pid in self.by_pid and all(row.pid != pid for row in rows):
            self.filter = self.order = None
            return self.reveal(pid)
        return rows

    def fold(self, pid: int) -> None:
        """Fold what is below *pid*, or unfold it."""
        self._folds().symmetric_difference_update({pid})

    def fold_all(self) -> None:
        """Unfold everything; if nothing is folded but the kernel's threads, fold everything below the first level."""
        folds = self._folds()
        if folds - {KTHREADD}:
            folds.clear()
            return
        rows = self.processes.rows
        roots = {process.pid for process in rows if process.ppid not in self.by_pid}
        folds.update({process.ppid for process in rows} - roots, {KTHREADD})

    def set_filter(self, wanted: Filter | None) -> None:
        """Show only what matches *wanted*."""
        if wanted != self.filter:
            self.filter = wanted
            self.folded_hits.clear()

    def _folds(self) -> set[int]:
        return self.folded if self.filter is None else self.folded_hits
