"""What is taken inside the freeze, as values; nothing here encodes or writes.

Order matters: memory first, because a batch of ours writes into the target; questions to the inside next; queued signals last, since a
timer may fire while we look. What can be made ready beforehand is (`prepare`), and what was taken is made sense of after the thaw
(`Captured.tasks`).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from lamina.core.attach.calls import CallList
from lamina.core.attach.frozen import FrozenTask, FrozenThread
from lamina.core.attach.procfs import Area, Stat, read_smaps, read_stat, read_status, threads_of
from lamina.core.attach.tracee import Tracee
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.errors import RefusedError, TargetError
from lamina.core.kinds import area_notes, descriptors, mempolicy, posix_timers, vmas
from lamina.core.kinds.inside import TaskQuestions, ThreadQuestions
from lamina.core.kinds.outside import TaskLooks, ThreadLooks, look_at_task, look_at_thread

AreaKey = tuple[int, int, str, int, int, str]
Areas = dict[AreaKey, Area]


Questions = dict[int, tuple[CallList, ThreadQuestions]]


@dataclass(frozen=True)
class Prepared:
    """What is made ready for one task before the freeze.

    Attributes:
        areas: every area with its VmFlags: smaps walks the page tables, ms for each GiB.
        questions: what each of its threads will be asked.
    """

    areas: Areas = field(default_factory=dict)
    questions: Questions = field(default_factory=dict)


def prepare(pids: Iterable[int]) -> dict[int, Prepared]:
    """As much as can be known of *pids* while they run. What is new in the freeze is found there."""
    known: dict[int, Prepared] = {}
    for pid in pids:
        with suppress(TargetError):  # one that has ended is not in the freeze, or is looked at there
            areas = {_key(area): area for area in read_smaps(pid)}
            known[pid] = Prepared(areas, {tid: _questions(tid) for tid in threads_of(pid)})
    return known


def _questions(tid: int) -> tuple[CallList, ThreadQuestions]:
    calls = CallList()
    return calls, ThreadQuestions(calls, tid)


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
    task: TaskQuestions
    threads: dict[int, ThreadQuestions]
    looks: TaskLooks
    thread_looks: dict[int, ThreadLooks]
    policies: dict[int, str]
    signals: tuple[bytes, ...] = ()
    thread_signals: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    def take_signals(self) -> None:
        """Inside the freeze, last: the queued signals."""
        self.thread_signals = {tracee.tid: tracee.queued_signals(shared=False) for tracee in self.process.tracees}
        self.signals = self.process.leader.queued_signals(shared=True)

    def frozen(self) -> FrozenTask:
        """The task as a value.

        Raises:
            RefusedError: something that only the inside shows is not supported.
        """
        keyring = self.threads[self.process.pid].session_keyring
        return FrozenTask(
            pid=self.process.pid,
            stat=self.stat,
            status=self.status,
            areas=self.areas,
            threads=tuple(self._thread(tracee, keyring) for tracee in self.process.tracees),
            area_notes=area_notes.notes(self.policies, self.areas),
            signals=self.signals,
            **self.task.answers(),
            **self.looks,
        )

    def _thread(self, tracee: Tracee, keyring: int) -> FrozenThread:
        raw = tracee.thread
        rseq = (int(raw.rseq_address), int(raw.rseq_size), int(raw.rseq_signature)) if raw.rseq_address else None
        return FrozenThread(
            tid=tracee.tid,
            regs=tracee.registers(),
            xstate=tracee.xstate(),
            sigmask=int(raw.sigmask),
            rseq=rseq,
            robust=(int(raw.robust_head), int(raw.robust_size)),
            signals=self.thread_signals[tracee.tid],
            **self.threads[tracee.tid].answers(keyring),
            **self.thread_looks[tracee.tid],
        )


def capture_task(process: FrozenProcess, areas: tuple[Area, ...], prepared: Questions) -> TakenTask:
    """One frozen process, whose scratch range is ready, but for queued signals. *prepared*: questions of threads that were known before."""
    pid = process.pid
    status = read_status(pid)
    questions = {tracee.tid: prepared.get(tracee.tid) or _questions(tracee.tid) for tracee in process.tracees}
    lists = {tid: calls for tid, (calls, _) in questions.items()}
    leader = process.leader
    task = TaskQuestions(lists[pid], pid, leader.spare_page, posix_timers.read(pid))
    process.run_everywhere(lists)
    return TakenTask(
        process=process,
        stat=read_stat(pid),
        status=status,
        areas=areas,
        task=task,
        threads={tid: asked for tid, (_, asked) in questions.items()},
        looks=look_at_task(pid, status),
        thread_looks={tracee.tid: look_at_thread(pid, tracee.tid) for tracee in process.tracees},
        policies=mempolicy.read_areas(leader, areas),
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


def capture_rest(tree: FrozenTree, taken: Sequence[TakenTask], own_uffds: set[int]) -> Captured:
    """Descriptors, zombies and queued signals, after every task was captured."""
    files = descriptors.capture([process.pid for process in tree], own_uffds)
    try:
        for task in taken:
            task.take_signals()
        return Captured(tree.pids, taken, [FrozenTask(pid, read_stat(pid), read_status(pid)) for pid in tree.zombies], files)
    except BaseException:
        files.close()
        raise
