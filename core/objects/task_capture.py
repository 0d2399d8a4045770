"""What is taken of a frozen task beside its memory and descriptors, by the declarations of all kinds; and how they put it into images.

Inside the freeze texts are read and calls made; what they mean is worked out after the thaw (`CapturedTask.of`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area, read_links, read_texts
from lamina.core.attach.tree import FrozenProcess
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, RefusedError
from lamina.core.image.schema import core_entry, fs_entry, mm_entry, task_kobj_ids_entry
from lamina.core.image.supplement import AreaNote, Supplement, Values
from lamina.core.objects.paths import PathTable
from lamina.core.objects.task_kind import (
    Answer,
    Asking,
    AskingLate,
    AttributeTable,
    CapturedTask,
    CapturedThread,
    TaskImages,
)

Images = dict[str, tuple[str, list[Message]]]
"""Name of the image without ".img" → (kind, records)."""


@dataclass(frozen=True)
class Questions:
    """What the inside of one task will be asked.

    Attributes:
        lists: the calls of each thread; those of the leader are for the task, too.
        threads, task: what they will bring, by kind.
        prepared: what kinds have made ready beyond.
        peer: the process that its threads are asked about (`Asking`).
    """

    pid: int
    table: AttributeTable
    lists: dict[int, CallList]
    threads: dict[int, dict[str, Answer]]
    task: dict[str, Answer]
    prepared: dict[str, Any]
    peer: int

    @classmethod
    def of(cls, pid: int, tids: Iterable[int], areas: Sequence[Area], peer: int, table: AttributeTable) -> "Questions":
        """*tids*, *areas*: of the task as far as they are known."""
        prepared = {kind.name: ready for kind in table.tasks if (ready := kind.prepare(areas)) is not None}
        asked = cls(pid, table, {}, {}, {}, prepared, peer)
        for tid in tids:
            asked._ask(tid)
        for kind in table.tasks:
            if answer := kind.ask(asked.lists[pid], Asking(pid, pid, peer)):
                asked.task[kind.name] = answer
        for calls in asked.lists.values():
            calls.encode()
        return asked

    def _ask(self, tid: int) -> None:
        calls, answers = self.lists.setdefault(tid, CallList()), self.threads.setdefault(tid, {})
        for kind in self.table.threads:
            if answer := kind.ask(calls, Asking(self.pid, tid, self.peer)):
                answers[kind.name] = answer

    def add_late(self, asking: AskingLate) -> None:
        """Inside the freeze: what only it can tell."""
        for kind in self.table.tasks:
            if answer := kind.ask_late(self.lists[self.pid], asking):
                self.task[kind.name] = answer

    def of_threads(self, tids: Iterable[int]) -> dict[int, CallList]:
        """The lists of *tids*, those that are new included."""
        for tid in tids:
            if tid not in self.lists:
                self._ask(tid)
        return {tid: self.lists[tid] for tid in tids}


def take_task(process: FrozenProcess, areas: tuple[Area, ...], guards: PageRuns, asked: Questions, texts: dict[str, bytes]) -> CapturedTask:
    """Inside the freeze: one process, whose scratch range is ready, but for queued signals. *texts*: its files of /proc.

    Raises:
        TargetError: it is gone. LaminaError: a call inside failed.
    """
    pid, table, leader = process.pid, asked.table, process.leader
    tids = [tracee.tid for tracee in process.tracees]
    lists = asked.of_threads(tids)
    asked.add_late(AskingLate(texts, leader.spare_page))
    process.run_everywhere(lists)
    threads = tuple(
        CapturedThread(tracee.tid, read_texts(pid, table.thread_texts, tracee.tid), asked.threads[tracee.tid], tracee.thread)
        for tracee in process.tracees
    )
    for thread in threads[1:]:
        thread.leader = threads[0]
    taken = {name: table.task(name).take(ready, areas, leader) for name, ready in asked.prepared.items()}
    return CapturedTask(pid, texts, read_links(pid, table.task_links), asked.task, taken, threads, areas, guards)


def take_signals(process: FrozenProcess, task: CapturedTask) -> None:
    """Inside the freeze, last: the queued signals."""
    for tracee, thread in zip(process.tracees, task.threads, strict=True):
        thread.signals = tracee.queued_signals(shared=False)
    task.signals = process.leader.queued_signals(shared=True)


def refuse_task(task: CapturedTask, table: AttributeTable) -> None:
    """After the thaw.

    Raises:
        RefusedError: something that only the freeze shows cannot be held in an image.
    """
    found: list[Blocker] = []
    for kind in table.tasks:
        found += kind.late_blockers(task.of(kind), task)
    _refuse(f"process {task.pid}", found)
    for thread in task.threads:
        found = []
        for each in table.threads:
            found += each.late_blockers(thread.of(each), thread)
        _refuse(f"thread {thread.tid}", found)


def _refuse(name: str, blockers: Sequence[Blocker]) -> None:
    if blockers:
        raise RefusedError("cannot dump", name, blockers=tuple(blockers))


# -- images --------------------------------------------------------------------------------------------------------------------------


def save_task(task: CapturedTask, files: PathTable, ids: task_kobj_ids_entry, table: AttributeTable) -> Images:
    """All images of one task but its pages and descriptors: core-TID of each thread, mm-PID, fs-PID, ids-PID. After the thaw.

    CRIU's required fields: `tc` and `ids` in the leader's core only, `thread_info` and `thread_core` in every thread's; a zombie has a core
    with `tc` alone, no other image, and needs no *ids*.

    Raises:
        TargetError: registers that the format cannot hold. RefusedError: an area that it cannot hold.
    """
    if task.is_zombie:
        return {f"core-{task.pid}": ("core", [_save_zombie(task, table)])}
    cores = {thread.tid: core_entry(mtype=core_entry.X86_64) for thread in task.threads}
    images = TaskImages(cores[task.pid], mm_entry(), fs_entry(), ids, files)
    images.core.tc.SetInParent()
    for thread in task.threads:
        for kind in table.threads:
            kind.save(thread.of(kind), cores[thread.tid])
    for each in table.tasks:
        each.save(task.of(each), images)
    images.core.ids.CopyFrom(ids)
    named: Images = {f"core-{tid}": ("core", [core]) for tid, core in cores.items()}
    return named | {f"{kind}-{task.pid}": (kind, [record]) for kind, record in (("mm", images.mm), ("fs", images.fs), ("ids", ids))}


def _save_zombie(task: CapturedTask, table: AttributeTable) -> core_entry:
    core = core_entry(mtype=core_entry.X86_64)
    for kind in table.all:
        if kind.of_zombies:
            kind.save_zombie(task.stat, core)
    return core


def supplement_of(tasks: Iterable[CapturedTask], files: dict[int, Values], table: AttributeTable) -> Supplement:
    """What the images of living *tasks* have no field for. *files*: of open files, by id in files.img."""
    threads: dict[int, Values] = {}
    processes: dict[int, Values] = {}
    areas: dict[int, tuple[AreaNote, ...]] = {}
    for task in tasks:
        notes: list[AreaNote] = []
        kept: dict[str, Any] = {}
        for kind in table.tasks:
            kept |= kind.supplement(task.of(kind))
            notes += kind.area_notes(task.of(kind))
        processes[task.pid], areas[task.pid] = kept, tuple(notes)
        for thread in task.threads:
            threads[thread.tid] = {name: value for each in table.threads for name, value in each.supplement(thread.of(each)).items()}
    return Supplement(
        threads={tid: values for tid, values in threads.items() if values},
        tasks={pid: values for pid, values in processes.items() if values},
        areas={pid: found for pid, found in areas.items() if found},
        files=files,
    )
