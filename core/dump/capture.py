"""What is taken inside the freeze, as values; nothing here encodes or writes.

Order matters: memory first, because a batch of ours writes into the target; questions to the inside next; queued signals last, since a
timer may fire while we look. What can be made ready beforehand is (`prepare`), and what was taken is made sense of after the thaw
(`Captured.tasks`).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from lamina.core.attach.procfs import Area, parse_status, read_smaps, read_status, read_texts, threads_of
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, RefusedError, TargetError
from lamina.core.image.shared_tables import Relative, plan_origins
from lamina.core.kinds.memory import shared_files, vmas
from lamina.core.kinds.table import ATTRIBUTES, DESCRIPTORS
from lamina.core.kinds.task.signals import SignalActions, reaps_unseen
from lamina.core.kinds.thread.landlock import Peers
from lamina.core.objects import capture as descriptors
from lamina.core.objects.task_capture import Questions, refuse_task, take_signals, take_task
from lamina.core.objects.task_kind import CapturedTask

AreaKey = tuple[int, int, str, int, int, str]
Areas = dict[AreaKey, Area]
NO_PAGES: Final = PageRuns.empty()


@dataclass(frozen=True)
class Prepared:
    """What is made ready for one task before the freeze.

    Attributes:
        areas: every area with its VmFlags: smaps walks the page tables, ms for each GiB.
        questions: None for a task that was not known.
    """

    areas: Areas = field(default_factory=dict)
    questions: Questions | None = None


def prepare(pids: Iterable[int], peers: Peers) -> dict[int, Prepared]:
    """As much as can be known of *pids* while they run. What is new in the freeze is found there."""
    known: dict[int, Prepared] = {}
    for pid in pids:
        with suppress(TargetError):  # one that has ended is not in the freeze, or is looked at there
            areas = {_key(area): area for area in read_smaps(pid)}
            known[pid] = Prepared(areas, Questions.of(pid, threads_of(pid), tuple(areas.values()), peers.of(read_status(pid)), ATTRIBUTES))
    return known


def _key(area: Area) -> AreaKey:
    return area.start, area.end, area.perms, area.offset, area.inode, area.path


def areas_of(process: FrozenProcess, known: Areas) -> tuple[Area, ...]:
    """The areas of a frozen process with their VmFlags; smaps is read again only if something changed since *known*.

    Raises:
        RefusedError: an area that came after preflight and is not supported.
    """
    new = [area for area in process.areas if _key(area) not in known]
    if new:
        known = {_key(area): area for area in read_smaps(process.pid)}
    areas = tuple(known.get(_key(area), area) for area in process.areas)
    blockers = tuple(blocker for area in areas if area in new and (blocker := vmas.blocker(area, process.pid)))
    if blockers:
        raise RefusedError("cannot dump", f"process {process.pid}", blockers=blockers)
    return areas


@dataclass(frozen=True)
class TakenTask:
    """A task as it was taken in the freeze, but for its memory."""

    process: FrozenProcess
    task: CapturedTask

    def take_signals(self) -> None:
        """Inside the freeze, last: the queued signals."""
        take_signals(self.process, self.task)

    def reaps_unseen(self) -> bool:
        """Whether its children leave nothing with it when they end: SA_NOCLDWAIT."""
        return reaps_unseen(self.task.of(SignalActions()))

    def refuse(self) -> None:
        """After the thaw.

        Raises:
            RefusedError: something that only the freeze shows is not supported.
        """
        refuse_task(self.task, ATTRIBUTES)


def capture_task(
    process: FrozenProcess, areas: tuple[Area, ...], peers: Peers, guards: PageRuns = NO_PAGES, prepared: Questions | None = None
) -> TakenTask:
    """One frozen process, whose scratch range is ready, but for queued signals.

    *guards*: its guard pages. *prepared*: its questions, if it was known before.
    """
    pid = process.pid
    texts = read_texts(pid, ATTRIBUTES.task_texts)
    peer = peers.of(parse_status(texts["status"]))
    if prepared is None or prepared.peer != peer:
        prepared = Questions.of(pid, [tracee.tid for tracee in process.tracees], areas, peer, ATTRIBUTES)
    return TakenTask(process, take_task(process, areas, guards, prepared, texts))


class Captured:
    """A frozen tree: its tasks, and their descriptors.

    Attributes:
        descriptors: of all tasks; to be closed.
    """

    def __init__(
        self, pids: Sequence[int], taken: Sequence[TakenTask], zombies: Sequence[CapturedTask], files: descriptors.Captured
    ) -> None:
        """*pids*: of all tasks, in order."""
        self._pids, self._taken, self._zombies = pids, taken, zombies
        self.descriptors = files

    @cached_property
    def tasks(self) -> tuple[CapturedTask, ...]:
        """Parents before children, zombies included. Asked for the first time after the thaw, if there is one.

        Raises:
            RefusedError: something that only the freeze shows is not supported.
        """
        for taken in self._taken:
            taken.refuse()
        self._refuse_sharing()
        found = {task.pid: task for task in (*self._zombies, *(taken.task for taken in self._taken))}
        return tuple(found[pid] for pid in self._pids)

    def _refuse_sharing(self) -> None:
        """What came to share a table since preflight."""
        stats = [taken.task.stat for taken in self._taken]
        relatives = [Relative(stat.pid, stat.ppid if at else 0, stat.session) for at, stat in enumerate(stats)]
        if refused := plan_origins(relatives, self.descriptors.shared)[1]:
            raise RefusedError("cannot dump", "the tree", blockers=tuple(Blocker("process", why, pid=pid) for pid, why in refused.items()))

    @property
    def notices(self) -> tuple[str, ...]:
        """What is different after a restore, as sentences."""
        mapped = {path for task in self.tasks for path in shared_files.mapped(task.areas)}
        files = shared_files.notices(mapped | shared_files.in_shm(file.raw.link for file in self.descriptors.files))
        return (*files, *self.descriptors.notes())


def capture_rest(tree: FrozenTree, taken: Sequence[TakenTask], own_uffds: set[int]) -> Captured:
    """Descriptors, zombies and queued signals, after every task was captured."""
    files = descriptors.capture([process.pid for process in tree], DESCRIPTORS, own_uffds)
    try:
        for task in taken:
            task.take_signals()
        return Captured(tree.pids, taken, [CapturedTask(pid, read_texts(pid, ("stat",))) for pid in tree.zombies], files)
    except BaseException:
        files.close()
        raise
