"""Everything that stands in the way of a dump, found before the target is touched.

Reads /proc, compares by kcmp and looks at sockets through copies; it never traces. What only the freeze can show is refused there.
"""

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import Area, Stat, read_maps, read_stat, tree_of
from lamina.core.dirty.choice import capability_for, probe
from lamina.core.dirty.held import Whose, held_uffds
from lamina.core.dirty.lost import why_lost
from lamina.core.dirty.shared_memory import mappers_outside, mappings_of, note_outside
from lamina.core.dirty.state import load
from lamina.core.dirty.tracker import Capability
from lamina.core.dump.capabilities import capabilities
from lamina.core.dump.standing import (
    control_group_note,
    may_trace,
    protected,
    relation_blockers,
    session_note,
    sharing_blockers,
    task_blockers,
)
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.kinds.files.tty import Terminal
from lamina.core.kinds.memory import shared_files
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.capture import UFFD_LINK, group, held_lock
from lamina.core.objects.holders import ObjectHolders
from lamina.core.objects.kind import TreeView
from lamina.core.objects.rawfd import RawFd, read_table

__all__ = ["Examination", "capabilities", "examine", "protected"]


# A task that ends while it is compared spoils one try.
_TRIES = 5


@dataclass(frozen=True)
class Examination:
    """What stands in the way of dumping a tree.

    Attributes:
        pids: the tree, parents before children.
        blockers: every reason against it; empty if it can be dumped.
        notes: what a user should know although it can be dumped.
        tracker: whether its root can be tracked.
        own_uffds: inodes of userfaultfds in it that lamina left there: no descriptors of the program.
    """

    pids: tuple[int, ...]
    blockers: tuple[Blocker, ...]
    notes: tuple[str, ...]
    tracker: Capability
    own_uffds: frozenset[int] = field(default=frozenset())


def examine(pid: int, shell_job: bool = False, holders: ObjectHolders | None = None) -> Examination:
    """Examine the tree below *pid*. A few ms for a small one; if it has pipes or sockets, a few more for every hundred processes there are.

    holders: who holds them, if that was looked up a moment ago.

    Raises:
        TargetError: there is no such process.
    """
    failure: NativeError | None = None
    for _ in range(_TRIES):
        before = set(tree_of(pid))
        try:
            found = _examine(pid, shell_job, holders or ObjectHolders())
        except NativeError as error:
            failure = error
            if error.errnum != errno.ESRCH:
                break
            continue
        if not found.blockers or set(tree_of(pid)) == before:
            return found
        # Children came or went meanwhile, and what was found may be about them.
        failure, holders = None, None
    if failure is None:
        return found
    return _refused(read_stat(pid), f"what its tasks share cannot be compared: {failure}", "see `lamina check`")


def _examine(pid: int, shell_job: bool, holders: ObjectHolders) -> Examination:
    root = read_stat(pid)
    reason = protected(pid)
    if reason:
        return _refused(root, reason)
    if not may_trace(pid):
        return _refused(root, "it may not be traced by this user", "run lamina as root")
    stats = _stats(root)
    blockers: list[Blocker] = []
    for stat in stats:
        try:
            blockers += task_blockers(stat)
        except TargetError:
            if stat is root:
                raise
    blockers += relation_blockers(stats)
    blockers += sharing_blockers(stats)
    raws, own_uffds = _descriptors([stat for stat in stats if stat.state != "Z"])
    with _view(stats, raws, shell_job, holders) as view:
        blockers += _descriptor_blockers(raws, view)
    terminals = {raw.link for raw in raws if isinstance(DESCRIPTORS.of(raw), Terminal)}
    if len(terminals - {"/dev/tty"}) > 1:
        blockers.append(Blocker("terminals", f"it uses several: {', '.join(sorted(terminals))}; one can be handed on", pid=pid))
    notes = [session_note(root, terminals, shell_job), control_group_note(stats), *_shared_notes(stats, raws), _lost_note(pid)]
    return Examination(
        tuple(stat.pid for stat in stats), tuple(blockers), tuple(note for note in notes if note),
        capability_for(identify(pid)), own_uffds,
    )  # fmt: skip


def _lost_note(pid: int) -> str:
    state = load(identify(pid))
    why = why_lost(state) if state else ""
    return f"its next dump is a full one: {why}" if why else ""


def _shared_notes(stats: Sequence[Stat], raws: Sequence[RawFd]) -> tuple[str, ...]:
    areas: dict[int, list[Area]] = {}
    for stat in stats:
        with suppress(TargetError):
            areas[stat.pid] = read_maps(stat.pid)
    mapped = {path for listed in areas.values() for path in shared_files.mapped(listed)}
    outside = mappers_outside(mappings_of(areas), areas)
    files = shared_files.notices(mapped | shared_files.in_shm(raw.link for raw in raws))
    return (*files, *(note_outside(key, pid) for key, pid in outside.items()))


def _refused(root: Stat, why: str, fix: str = "") -> Examination:
    return Examination((root.pid,), (Blocker(root.comm, why, fix, root.pid),), (), _machine())


def _machine() -> Capability:
    try:
        return probe()
    except NativeError as error:
        return Capability("none", False, str(error))


def _stats(root: Stat) -> list[Stat]:
    stats = [root]
    for pid in tree_of(root.pid)[1:]:
        try:
            stats.append(read_stat(pid))
        except TargetError:
            continue  # reaped while we looked
    return stats


def _descriptors(stats: Sequence[Stat]) -> tuple[list[RawFd], frozenset[int]]:
    """All descriptors of the tree but lamina's own, and the inodes of those."""
    raws: list[RawFd] = []
    own: set[int] = set()
    for n, stat in enumerate(stats):
        try:
            table = read_table(stat.pid)
        except TargetError:
            if n == 0:
                raise
            continue
        if any(raw.link == UFFD_LINK for raw in table):
            # What another lamina left is no descriptor of the program either: it stays, and is told of as what keeps it from being tracked.
            own |= {held.ino for held in held_uffds(identify(stat.pid)) if held.whose is not Whose.FOREIGN}
        raws += [raw for raw in table if raw.link != UFFD_LINK or raw.ino not in own]
    return raws, frozenset(own)


def _is_of_tree(pid: int, pids: Collection[int]) -> bool:
    """Whether *pid* is below one of *pids* by now, or gone: a child that was forked after they were listed."""
    while pid > 1:
        if pid in pids:
            return True
        try:
            pid = read_stat(pid).ppid
        except TargetError:
            return True
    return False


@contextmanager
def _view(stats: Sequence[Stat], raws: Sequence[RawFd], shell_job: bool, holders: ObjectHolders) -> Iterator[TreeView]:
    pids = frozenset(stat.pid for stat in stats)
    pidfds: dict[int, int] = {}

    def pidfd(pid: int) -> int:
        if pid not in pidfds:
            pidfds[pid] = os.pidfd_open(pid)
        return pidfds[pid]

    links = frozenset(raw.link for raw in raws)

    def outside(link: str) -> list[tuple[int, int]]:
        found = holders.outside(link, pids, links)
        return [(pid, flags) for pid, flags in found if not _is_of_tree(pid, pids)]

    try:
        yield TreeView(pids, shell_job, links, outside, pidfd)
    finally:
        for fd in pidfds.values():
            os.close(fd)


def _grouped(raws: Sequence[RawFd]) -> list[list[RawFd]]:
    try:
        return group(raws)
    except NativeError as error:
        if error.errnum != errno.EBADF:
            raise
        # Some were closed while we compared: each for itself, and the freeze looks again.
        return [[raw] for raw in raws]


def _descriptor_blockers(raws: Sequence[RawFd], view: TreeView) -> list[Blocker]:
    found = [blocker for raw in raws if (blocker := held_lock(raw))]
    for holders in _grouped(raws):
        kind = DESCRIPTORS.of(holders[0])
        blocker = kind.blocker(holders, view) if kind else DESCRIPTORS.unknown(holders[0])
        if blocker:
            found.append(blocker)
    return found
