"""Processes as rows of a tree: pure arrangement of what the process table says, so that it can be tested and stays fast at 10,000."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


class ProcessLike(Protocol):
    """What the tree needs to know of a process."""

    @property
    def pid(self) -> int: ...  # noqa: D102
    @property
    def ppid(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class TreeRow:
    """One visible line of the tree.

    Attributes:
        pid: the process.
        branch: the lines that lead to it, as in "│  └─ ".
        hit: it matches the filter itself; ancestors of a hit are shown too, dimmed.
        folded: number of processes hidden below it.
    """

    pid: int
    branch: str
    hit: bool = True
    folded: int = 0


def matches(process: ProcessLike, cmdline: str, wanted: str) -> bool:
    """Whether *wanted* is its pid or part of its name or command line, whatever the case; a leading "!" turns it round."""
    if wanted.startswith("!"):
        return not matches(process, cmdline, wanted[1:]) if wanted != "!" else True
    needle = wanted.lower()
    return needle in process.name.lower() or needle in cmdline.lower() or needle in str(process.pid)


def arrange(processes: Sequence[ProcessLike], hits: Collection[int] | None = None, folded: Collection[int] = ()) -> list[TreeRow]:
    """The tree, parents before children, siblings by pid.

    Args:
        processes: in any order; one whose parent is not among them starts a tree of its own.
        hits: pids to show, with the way to them; None shows all.
        folded: pids whose children are hidden.
    """
    by_pid = {process.pid: process for process in processes}
    shown = set(by_pid) if hits is None else _with_ancestors(by_pid, hits)
    children: dict[int, list[int]] = defaultdict(list)
    roots = []
    for pid in sorted(shown):
        parent = by_pid[pid].ppid
        if parent in shown and parent != pid:
            children[parent].append(pid)
        else:
            roots.append(pid)
    rows: list[TreeRow] = []
    # A stack and no recursion: a fork chain may be deeper than Python's limit.
    pending = [(pid, "", "") for pid in reversed(roots)]
    while pending:
        pid, branch, below = pending.pop()
        hidden = _count_below(children, pid) if pid in folded and children[pid] else 0
        rows.append(TreeRow(pid, branch, hits is None or pid in hits, hidden))
        if hidden:
            continue
        kin = children.get(pid, [])
        for at in range(len(kin) - 1, -1, -1):
            last = at == len(kin) - 1
            pending.append((kin[at], below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return rows


def _with_ancestors(by_pid: dict[int, ProcessLike], hits: Collection[int]) -> set[int]:
    shown: set[int] = set()
    for hit in hits:
        pid = hit
        while pid in by_pid and pid not in shown:
            shown.add(pid)
            pid = by_pid[pid].ppid
    return shown


def _count_below(children: dict[int, list[int]], pid: int) -> int:
    total, pending = 0, list(children[pid])
    while pending:
        total += 1
        pending.extend(children.get(pending.pop(), []))
    return total
