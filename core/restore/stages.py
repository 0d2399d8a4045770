"""The kinds of what a task and a thread have, walked stage by stage (`Stage`, docs/restore.md). On the tracer thread only.

Which kinds there are, and in which order within a stage, is in `core/kinds/table.py`.
"""

from collections.abc import Callable, Iterable

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker
from lamina.core.image.layer import Layer
from lamina.core.image.supplement import Supplement, Values
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.objects.attempt import Attempt, failures
from lamina.core.objects.paths import PathOf
from lamina.core.objects.task_kind import Asking, Machine, Stage, TaskRecord, ThreadRecord
from lamina.core.restore.process import Rebuilding


def record_of(layer: Layer, supplement: Supplement, pid: int, parent: int, tids: Iterable[int], path_of: PathOf) -> TaskRecord:
    """What the layer says of one process and its threads, the leader first; of a zombie only its core."""
    tids = tuple(tids)
    task = TaskRecord(pid, tids, layer.core(pid), kept=supplement.tasks.get(pid, {}), path_of=path_of)
    if not task.is_zombie:
        task.mm, task.fs = layer.mm(pid), layer.fs(pid)
        task.of_parent = supplement.tasks.get(parent, {})
    restarts = layer.sidecar.restarts if layer.sidecar else {}
    task.threads = tuple(
        ThreadRecord(tid, layer.core(tid), task, kept=_kept(supplement, tid), restart=restarts.get(tid, 0)) for tid in tids
    )
    return task


def _kept(supplement: Supplement, tid: int) -> Values:
    return supplement.threads.get(tid, {})


def blockers(task: TaskRecord, machine: Machine) -> list[Blocker]:
    """What the kinds of one living process have against being put back here."""
    found = [blocker for kind in ATTRIBUTES.tasks for blocker in kind.plan(task, machine)]
    for thread in task.threads:
        found += [blocker for each in ATTRIBUTES.threads for blocker in each.plan(thread, machine)]
    return [Blocker(blocker.obj, blocker.why, blocker.fix, task.pid) for blocker in dict.fromkeys(found)]


def notices(layer: Layer) -> tuple[str, ...]:
    """What the kinds say will be different after a restore."""
    return tuple(sentence for kind in ATTRIBUTES.all for sentence in kind.notices(layer))


def put_back(process: Rebuilding, task: TaskRecord, stage: Stage, before: Callable[[CallList], None] | None = None) -> list[str]:
    """The task's part of *stage*, in its leader. *before* appends what comes first. Returns what could not be set, as sentences."""
    calls = CallList()
    if before:
        before(calls)
    attempts: list[Attempt] = []
    for kind in ATTRIBUTES.tasks_at(stage):
        attempts += kind.rebuild(task, calls) or ()
    process.run(calls)
    return failures(attempts)


def put_back_threads(process: Rebuilding, task: TaskRecord, stage: Stage) -> list[str]:
    """The threads' part of *stage*, in all of them at the same time."""
    attempts: list[Attempt] = []
    lists: dict[int, CallList] = {}
    for thread in task.threads:
        calls = lists[thread.tid] = CallList()
        for kind in ATTRIBUTES.threads_at(stage):
            attempts += kind.rebuild(thread, calls) or ()
        if stage is Stage.THREAD:
            _ask(thread, calls)
    process.run_everywhere(lists)
    return failures(attempts)


def _ask(thread: ThreadRecord, calls: CallList) -> None:
    """Last of THREAD: what the thread has inherited from lamina, for SETTINGS."""
    for kind in ATTRIBUTES.threads:
        if kind.compared and (answer := kind.ask(calls, Asking(thread.pid, thread.tid))):
            thread.answers[kind.name] = answer


def put_into_zombie(task: TaskRecord, calls: CallList) -> None:
    """What a process has that will have exited when the tree runs."""
    for kind in ATTRIBUTES.threads:
        if kind.of_zombies:
            kind.rebuild(task.threads[0], calls)


def load_registers(process: Rebuilding, task: TaskRecord) -> None:
    """REGISTERS: nothing may run inside after this."""
    records = {thread.tid: thread for thread in task.threads}
    for tracee in process.threads:
        for kind in ATTRIBUTES.threads_at(Stage.REGISTERS):
            kind.load(records[tracee.tid], tracee.thread)
        tracee.write()


def write(task: TaskRecord, stage: Stage) -> list[str]:
    """OUTSIDE or BEFORE_SWITCH: from outside. Returns what could not be set, as sentences."""
    sentences = [sentence for kind in ATTRIBUTES.tasks_at(stage) for sentence in kind.write(task)]
    return sentences + [sentence for each in ATTRIBUTES.threads_at(stage) for sentence in each.write(task.threads)]
