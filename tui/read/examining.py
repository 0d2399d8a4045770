"""Finds out what prevents dumping a process, without touching it. Called in worker threads."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lamina.core.attach.processes import ProcessInfo
from lamina.core.errors import Blocker, LaminaError, TargetError
from lamina.tui.model.examined import Examined

if TYPE_CHECKING:
    from lamina.core.objects.holders import ObjectHolders

# A tree of so many processes takes long to examine.
_MANY = 500
# How long the list of who holds which pipe is used, s; and how many times as long as it took to make it.
_HOLDERS_S, _REST = 2.0, 10


def examine(process: ProcessInfo, holders: "ObjectHolders | None" = None, closely: bool = False) -> Examined:
    """What prevents dumping *process*; touches nothing.

    Args:
        process: the one to examine.
        holders: who holds pipes and sockets, if that was found out a moment ago.
        closely: find out also what a dump keeps.
    """
    from lamina.core.dump.preflight import examine as preflight

    began = time.monotonic()
    try:
        plain = preflight(process.pid, holders=holders)
        # The option only helps against what names it.
        shell_job = (
            bool(plain.blockers)
            and all("--shell-job" in blocker.fix for blocker in plain.blockers)
            and not preflight(process.pid, shell_job=True, holders=holders).blockers
        )
    except LaminaError as error:
        return Examined(process, unreadable=str(error), closely=closely, moment=time.monotonic())
    kept, descriptors = _descriptors(process.pid, plain.blockers, closely)
    tracker, now = plain.tracker, time.monotonic()
    return Examined(
        process, tuple(plain.blockers), shell_job, tuple(str(note) for note in plain.notes), kept, descriptors, len(plain.pids),
        tracker.name if tracker.available else "", "" if tracker.available else tracker.reason, closely=closely, moment=now,
        took=now - began,
    )  # fmt: skip


class Examiner:
    """Examines those on the screen, a few at a time."""

    def __init__(self) -> None:
        self._holders: ObjectHolders | None = None
        self._good_until = 0.0

    def examine(self, rows: Iterable[ProcessInfo], wanted: Sequence[tuple[ProcessInfo, bool]], seconds: float) -> tuple[Examined, ...]:
        """`examine` each (process, closely) until *seconds* have passed; one with many processes below it only if closely.

        Args:
            rows: all processes.
            wanted: the processes to examine, the most urgent first.
            seconds: no new one is begun after that; the time to list all descriptors does not count.
        """
        from lamina.core.objects.holders import ObjectHolders, links_of

        children: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            children[row.ppid].append(row.pid)
        trees = {process.pid: _tree(process.pid, children, _MANY) for process, _ in wanted}
        now = [(process, closely) for process, closely in wanted if closely or len(trees[process.pid]) < _MANY]
        began = time.monotonic()
        fresh = self._holders is None or began > self._good_until
        if self._holders is None or fresh:
            self._holders = ObjectHolders(links_of({pid for process, _ in now for pid in trees[process.pid]}))
        found: list[Examined] = []
        until = began
        for process, closely in now:
            if found and time.monotonic() > until:
                break
            found.append(examine(process, self._holders, closely))
            until = until if len(found) > 1 else time.monotonic() + seconds
        if fresh:
            ended = time.monotonic()
            self._good_until = ended + max(_HOLDERS_S, _REST * (ended - began))
        return tuple(found)


def _tree(pid: int, children: Mapping[int, Sequence[int]], most: int) -> list[int]:
    tree = [pid]
    for each in tree:
        if len(tree) >= most:
            break
        tree += children.get(each, ())
    return tree


def needs_shell_job(pid: int) -> bool:
    """Whether *pid* can be dumped with `--shell-job` only: it belongs to a session or a terminal of somebody else.

    Raises:
        LaminaError: it is gone, or may not be read.
    """
    from lamina.core.dump.preflight import examine as preflight

    return bool(preflight(pid).blockers) and not preflight(pid, shell_job=True).blockers


def _descriptors(pid: int, blockers: Sequence[Blocker], closely: bool) -> tuple[tuple[str, ...], int | None]:
    """The descriptors that are kept, if wanted, and how many there are; nothing if they are hidden from us."""
    from lamina.core.attach.procfs import fds_of
    from lamina.tui.read.target_parts import read_descriptors

    blocked = {int(found[1]) for blocker in blockers if blocker.pid == pid and (found := re.match(r"fd (\d+)\b", blocker.obj))}
    try:
        count, rows = len(fds_of(pid)), read_descriptors(pid) if closely else []
    except TargetError:
        return (), None
    kinds = Counter(f"listening {row.kind}" if row.leads_to.endswith("listening") else row.kind for row in rows if row.fd not in blocked)
    return tuple(f"{many} {kind}{'s' if many > 1 else ''}" for kind, many in kinds.most_common()), count
