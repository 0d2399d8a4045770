"""Processes as rows of a tree. It only arranges the process table, so that it can be tested alone and stays fast with 10,000 processes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol


class ProcessLike(Protocol):
    """What the tree needs to know of a process."""

    @property
    def pid(self) -> int: ...  # noqa: D102
    @property
    def ppid(self) -> int: ...  # noqa: D102


class TreeRow(NamedTuple):
    """One visible line of the tree.

    Attributes:
        pid: the process.
        branch: the lines that lead to it, as in "│  └─ ".
        hit: it matches the filter itself. Ancestors of a hit are shown too, dimmed.
        folded: number of processes hidden below it.
    """

    pid: int
    branch: str
    hit: bool = True
    folded: int = 0


def in_order(pids: Iterable[int], hits: Collection[int] | None = None) -> list[TreeRow]:
    """Rows without a tree, in the order of *pids*; only *hits* if given."""
    return [TreeRow(pid, "") for pid in pids if hits is None or pid in hits]


def arrange(processes: Sequence[ProcessLike], hits: Collection[int] | None = None, folded: Collection[int] = ()) -> list[TreeRow]:
    """The tree, parents before children, siblings by pid.

    Args:
        processes: in any order; one whose parent is not among them starts a tree of its own.
        hits: pids to show, with their ancestors; None shows all.
        folded: pids whose children are hidden.
    """
    parents = {process.pid: process.ppid for process in processes}
    shown: Collection[int] = parents if hits is None else _with_ancestors(parents, hits)
    children: dict[int, list[int]] = defaultdict(list)
    roots = []
    for pid in sorted(shown):
        parent = parents[pid]
        if parent in shown and parent != pid:
            children[parent].append(pid)
        else:
            roots.append(pid)
    rows: list[TreeRow] = []
    # No recursion: a chain of forks may be deeper than Python's limit.
    pending = [(pid, "", "") for pid in reversed(roots)]
    while pending:
        pid, branch, below = pending.pop()
        kin = children.get(pid)
        hidden = _count_below(children, pid) if kin and pid in folded else 0
        rows.append(TreeRow(pid, branch, hits is None or pid in hits, hidden))
        if kin and not hidden:
            twig, further, last = below + "├─ ", below + "│  ", len(kin) - 1
            pending.append((kin[last], below + "└─ ", below + "   "))
            pending.extend([(kin[at], twig, further) for at in range(last - 1, -1, -1)])
    return rows


def _with_ancestors(parents: dict[int, int], hits: Collection[int]) -> set[int]:
    shown: set[int] = set()
    for hit in hits:
        pid = hit
        while pid in parents and pid not in shown:
            shown.add(pid)
            pid = parents[pid]
    return shown


def _count_below(children: dict[int, list[int]], pid: int) -> int:
    total, pending = 0, list(children[pid])
    while pending:
        total += 1
        pending.extend(children.get(pending.pop(), []))
    return total
