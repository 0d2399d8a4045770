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

from lamina.core.attach.calls import CallList
from lamina.core.attach.frozen import FrozenTask, FrozenThread
from lamina.core.attach.procfs import Area, Stat, read_smaps, read_stat, read_status, threads_of
from lamina.core.attach.tracee import Tracee
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import RefusedError, TargetError
from lamina.core.kinds.inside import TaskQuestions, ThreadQuestions
from lamina.core.kinds.memory import area_notes, shared_files, vmas
from lamina.core.kinds.memory.mempolicy import AreaPolicies
from lamina.core.kinds.outside import TaskLooks, ThreadTexts, look_at_task, look_at_thread
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.kinds.task import posix_timers, sigactions
from lamina.core.kinds.thread import registers
from lamina.core.kinds.thread.landlock import Peers, credentials
from lamina.core.objects import capture as descriptors

AreaKey = tuple[int, int, str, int, int, str]
Areas = dict[AreaKey, Area]
NO_PAGES: Final = PageRuns.empty()


@dataclass(frozen=True)
class Questions:
    """What the inside of one task will be asked.

    Attributes:
        lists: the calls of each thread; those of the leader are for the task, too.
        threads, task: what they ask.
        policies: asks for the NUMA policies of its areas.
        peer: the process that its threads are asked about (`landlock.Peers`).
    """

    lists: dict[int, CallList]
    threads: dict[int, ThreadQuestions]
    task: TaskQuestions
    policies: AreaPolicies
    peer: int

    @classmethod
    def of(cls, pid: int, tids: Iterable[int], areas: Iterable[Area], peer: int) -> "Questions":
        """*tids*, *areas*: of the task as far as they are known. *peer*: see `landlock.Peers`."""
        lists = {tid: CallList() for tid in tids}
        threads = {tid: ThreadQuestions(calls, tid, peer) for tid, calls in lists.items()}
        asked = cls(lists, threads, TaskQuestions(lists[pid], pid), AreaPolicies(tuple(areas)), peer)
        for calls in lists.values():
            calls.encode()
        return asked

    def of_threads(self, tids: Iterable[int]) -> dict[int, CallList]:
        """The lists of *tids*, those that are new included."""
        for tid in tids:
            if tid not in self.lists:
                self.lists[tid] = CallList()
                self.threads[tid] = ThreadQuestions(self.lists[tid], tid, self.peer)
        return {tid: self.lists[tid] for tid in tids}


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
            known[pid] = Prepared(areas, Questions.of(pid, threads_of(pid), areas.values(), peers.of(read_status(pid))))
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


@dataclass
class TakenTask:
    """A task as it was taken in the freeze. `frozen` makes sense of it, and may wait until the thaw."""

    process: FrozenProcess
    stat: Stat
    status: dict[str, str]
    areas: tuple[Area, ...]
    guards: PageRuns
    questions: Questions
    looks: TaskLooks
    thread_texts: dict[int, ThreadTexts]
    policies: dict[int, str]
    signals: tuple[bytes, ...] = ()
    thread_signals: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    def take_signals(self) -> None:
        """Inside the freeze, last: the queued signals."""
        self.thread_signals = {tracee.tid: tracee.queued_signals(shared=False) for tracee in self.process.tracees}
        self.signals = self.process.leader.queued_signals(shared=True)

    def reaps_unseen(self) -> bool:
        """Whether its children leave nothing with it when they end: SA_NOCLDWAIT."""
        return sigactions.reaps_unseen(self.questions.task.answers()["sigactions"])

    def frozen(self) -> FrozenTask:
        """The task as a value.

        Raises:
            RefusedError: something that only the inside shows is not supported.
        """
        keyring = self.questions.threads[self.process.pid].session_keyring
        return FrozenTask(
            pid=self.process.pid,
            stat=self.stat,
            status=self.status,
            areas=self.areas,
            guards=tuple(self.guards),
            threads=tuple(self._thread(tracee, keyring) for tracee in self.process.tracees),
            area_notes=area_notes.notes(self.policies, self.areas),
            signals=self.signals,
            **self.questions.task.answers(),
            **self.looks,
        )

    def _thread(self, tracee: Tracee, keyring: int) -> FrozenThread:
        raw, looks = tracee.thread, self.thread_texts[tracee.tid].looks()
        if unfit := registers.dump_blockers(bool(raw.port_rights)):
            raise RefusedError("cannot dump", f"thread {tracee.tid}", blockers=tuple(unfit))
        rseq = (int(raw.rseq_address), int(raw.rseq_size), int(raw.rseq_signature)) if raw.rseq_address else None
        return FrozenThread(
            tid=tracee.tid,
            regs=tracee.registers(),
            xstate=tracee.xstate(),
            sigmask=int(raw.sigmask),
            rseq=rseq,
            robust=(int(raw.robust_head), int(raw.robust_size)),
            signals=self.thread_signals[tracee.tid],
            **self.questions.threads[tracee.tid].answers(keyring, credentials(looks["status"]) == credentials(self.status)),
            **looks,
        )


def capture_task(
    process: FrozenProcess, areas: tuple[Area, ...], peers: Peers, guards: PageRuns = NO_PAGES, prepared: Questions | None = None
) -> TakenTask:
    """One frozen process, whose scratch range is ready, but for queued signals.

    *guards*: its guard pages. *prepared*: its questions, if it was known before.
    """
    pid, leader = process.pid, process.leader
    status = read_status(pid)
    tids = [tracee.tid for tracee in process.tracees]
    peer = peers.of(status)
    asked = prepared if prepared and prepared.peer == peer else Questions.of(pid, tids, areas, peer)
    lists = asked.of_threads(tids)
    asked.task.add_late(lists[pid], leader.spare_page, posix_timers.read(pid))
    process.run_everywhere(lists)
    policies = asked.policies if asked.policies.areas == areas else AreaPolicies(areas)
    return TakenTask(
        process=process,
        stat=read_stat(pid),
        status=status,
        areas=areas,
        guards=guards,
        questions=asked,
        looks=look_at_task(pid, status),
        thread_texts={tid: look_at_thread(pid, tid) for tid in tids},
        policies=policies.read(leader),
    )


class Captured:
    """A frozen tree: its tasks, and their descriptors.

    Attributes:
        descriptors: of all tasks; to be closed.
    """

    def __init__(self, pids: Sequence[int], taken: Sequence[TakenTask], zombies: Sequence[FrozenTask], files: descriptors.Captured) -> None:
        """*pids*: of all tasks, in order."""
        self._pids, self._taken, self._zombies = pids, taken, zombies
        self.descriptors = files

    @cached_property
    def tasks(self) -> tuple[FrozenTask, ...]:
        """Parents before children, zombies included. Asked for the first time after the thaw, if there is one.

        Raises:
            RefusedError: something that only the inside shows is not supported.
        """
        found = {task.pid: task for task in (*self._zombies, *(taken.frozen() for taken in self._taken))}
        return tuple(found[pid] for pid in self._pids)

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
        return Captured(tree.pids, taken, [FrozenTask(pid, read_stat(pid), read_status(pid)) for pid in tree.zombies], files)
    except BaseException:
        files.close()
        raise
