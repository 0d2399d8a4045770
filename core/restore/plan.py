"""Everything a restore can know before any process exists: what will be made, and every reason why it cannot be.

Nothing is touched here. What passes fails later only if the machine changes meanwhile.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.events import Meter
from lamina.core.image import owners as owning
from lamina.core.image.layer import Layer
from lamina.core.image.owners import OwnerMap
from lamina.core.image.records.queues import queued_signals
from lamina.core.image.schema import core_entry, pstree_entry, vma_entry
from lamina.core.image.sessions import Membership, Memberships, plan_memberships
from lamina.core.image.shared_tables import Origin, Relative, plan_origins
from lamina.core.image.supplement import AreaNote, Supplement
from lamina.core.kinds.memory import area_notes, guards, shared_files, vmas
from lamina.core.kinds.memory.vmas import AreaPlan
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.kinds.task.ids import groups as kernel_objects
from lamina.core.objects.file_table import path_reader
from lamina.core.objects.named_file import path_of
from lamina.core.objects.opening import OpenOptions, plan_descriptions
from lamina.core.objects.paths import PathOf
from lamina.core.objects.task_kind import TaskRecord
from lamina.core.restore import layout, machine, stages, trial
from lamina.core.restore.layout import Span
from lamina.core.restore.shared_plan import ObjectPlan, plan_objects
from lamina.core.restore.shared_plan import blockers as object_blockers
from lamina.core.verify import check_chain
from lamina.core.verify.findings import Finding

_SLICE = 16384
_LEADER_SLICE = 512 << 10
_PER_SIGNAL = 256


@dataclass(frozen=True)
class TaskPlan:
    """One process to be made.

    Attributes:
        pid, parent: process ids; parent 0 for the root.
        threads: thread ids, the leader first.
        record: what the image and the supplement say of it and its threads.
        membership: its session and group.
        executable: what it execs; "" for a zombie.
        origin: who clones it, and what it shares with that one.
        entries: its mappings as in the image; areas: those to be mapped, ascending.
        owners: who holds its pages.
        guards: guard pages inside its mappings.
        notes: what the supplement has of its memory.
    """

    pid: int
    parent: int
    threads: tuple[int, ...]
    record: TaskRecord
    membership: Membership
    executable: str = ""
    entries: tuple[vma_entry, ...] = ()
    areas: tuple[AreaPlan, ...] = ()
    owners: OwnerMap | None = None
    guards: PageRuns = field(default_factory=PageRuns.empty)
    notes: tuple[AreaNote, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @property
    def core(self) -> core_entry:
        """The leader's core."""
        return self.record.core

    @property
    def is_zombie(self) -> bool:
        """It had exited and was not yet reaped: it is made, and ends with the same status."""
        return self.record.is_zombie

    @property
    def spans(self) -> list[Span]:
        """Where the image has memory."""
        return [(entry.start, entry.end) for entry in self.entries]


@dataclass(frozen=True)
class RestorePlan:
    """A whole tree to be made.

    Attributes:
        layer: what is restored.
        tasks: by pid, parents before children.
        memberships: sessions and groups.
        path_of: file id → path.
        notices: what will be different from before.
        objects: number → shared memory that its tasks map.
    """

    layer: Layer
    tasks: dict[int, TaskPlan]
    memberships: Memberships
    path_of: PathOf
    notices: tuple[str, ...]
    objects: dict[int, ObjectPlan] = field(default_factory=dict)

    @cached_property
    def supplement(self) -> Supplement:
        """What the layer holds beyond CRIU's format."""
        return _supplement(self.layer)

    @cached_property
    def root(self) -> TaskPlan:
        """The root of the tree."""
        return next(iter(self.tasks.values()))

    @property
    def living(self) -> list[TaskPlan]:
        """All but zombies, parents first."""
        return [task for task in self.tasks.values() if not task.is_zombie]

    @property
    def ids(self) -> list[int]:
        """All process and thread ids."""
        return [tid for task in self.tasks.values() for tid in task.threads]

    def slice_bytes(self, task: TaskPlan, tid: int) -> int:
        """Room for the calls of one thread and their data."""
        return slice_bytes(self.layer, task.pid, tid)


def slice_bytes(layer: Layer, pid: int, tid: int) -> int:
    """Room for the calls of thread *tid* of process *pid* and their data."""
    room = (_LEADER_SLICE if tid == pid else _SLICE) + _PER_SIGNAL * len(queued_signals(layer.core(tid)))
    return -(-room // _SLICE) * _SLICE


def _supplement(layer: Layer) -> Supplement:
    return layer.sidecar.supplement if layer.sidecar else Supplement()


def refuse_damaged(layer: Layer, contents: bool = False, meter: Meter | None = None) -> None:
    """Check the layer and all it takes pages from; *contents*, or a *meter* that tells how far it is: by their checksums, too.

    Raises:
        RefusedError: with everything found.
        Cancelled: as the meter was asked.
    """
    found = check_chain(layer, contents, meter, ours=True)
    _refuse(str(layer.path), [Blocker(_place(layer, finding), finding.why, finding.fix) for finding in found])


def _place(layer: Layer, finding: Finding) -> str:
    """The file, and of an ancestor also the layer."""
    if finding.layer == layer.directory:
        return finding.file or layer.name
    return f"ancestor {finding.layer.name}, {finding.file}" if finding.file else f"ancestor {finding.layer.name}"


def make_plan(layer: Layer, shell_job: bool, meter: Meter | None = None, ending: Iterable[int] = ()) -> RestorePlan:
    """Plan the restore of *layer*, or refuse it.

    Args:
        layer: the layer, held (`lamina.core.image.trust.held_layer`).
        shell_job: the tree gets our session and terminal.
        meter: compare every byte with the checksums of the sidecars, and tell it how far that is.
        ending: processes that will be gone before (`--replace`).

    Raises:
        RefusedError: with every reason found.
        ImageError: the layer cannot even be read.
        Cancelled: as the meter was asked.
    """
    obj = str(layer.path)
    if layer.is_pre_dump:
        raise RefusedError("cannot restore", obj, layer.memory_only, blockers=())
    sidecar = layer.sidecar
    if sidecar and not sidecar.restorable:
        raise RefusedError("cannot restore", obj, sidecar.why_not or "the sidecar says so", "restore a layer dumped after it")
    refuse_damaged(layer, meter=meter)

    gone = frozenset(ending)
    memberships = plan_memberships(layer.pstree, shell_job)
    path_by_id = path_reader(layer.files)
    found = [*memberships.blockers, *machine.right_blockers(), *machine.processor_blockers(sidecar)]
    found += plan_descriptions(layer, DESCRIPTORS, OpenOptions(shell_job=shell_job, ending=gone))
    tasks: dict[int, TaskPlan] = {}
    chain = layer.chain()
    for entry in layer.pstree:
        task = _plan_task(layer, chain, entry, memberships.by_pid[entry.pid], path_by_id)
        tasks[task.pid] = task
        found += _task_blockers(task)
    found += _share_tables(layer, tasks)
    found += _writers_of_executables(layer, tasks)
    objects = plan_objects(layer, (area for task in tasks.values() for area in task.areas), _supplement(layer).objects)
    found += object_blockers(objects)
    if not found:
        living = [task for task in tasks.values() if not task.is_zombie]
        found += [replace(blocker, pid=task.pid) for task in living for blocker in _trial_blockers(layer, task)]
    notices = (*memberships.notices, *stages.notices(layer))
    plan = RestorePlan(layer, tasks, memberships, path_by_id, notices, objects)
    shared = {path for task in plan.living for path in shared_files.of_image(task.entries, path_by_id)}
    opened = [path_of(entry.reg) for entry in layer.files.values() if entry.HasField("reg")]
    plan = replace(plan, notices=(*plan.notices, *shared_files.notices(shared | shared_files.in_shm(opened))))
    found += machine.wait_until_reaped(plan.ids, gone)
    _refuse(obj, found)
    return plan


def _refuse(obj: str, blockers: Sequence[Blocker]) -> None:
    if blockers:
        raise RefusedError("cannot restore", obj, blockers=tuple(dict.fromkeys(blockers)))


def _plan_task(layer: Layer, chain: Sequence[Layer], entry: pstree_entry, membership: Membership, path_of: PathOf) -> TaskPlan:
    threads = tuple(entry.threads) or (entry.pid,)
    supplement = _supplement(layer)
    record = stages.record_of(layer, supplement, entry.pid, entry.ppid, threads, path_of)
    if record.is_zombie:
        return TaskPlan(entry.pid, entry.ppid, threads[:1], record, membership)
    mm = layer.mm(entry.pid)
    owners = owning.resolve(chain, entry.pid)
    runs = owners.runs
    starts, ends = runs.starts.tolist(), runs.ends.tolist()

    def has_pages(area: vma_entry) -> bool:
        at = bisect_right(ends, area.start)
        return at < len(starts) and starts[at] < area.end

    notes = supplement.areas.get(entry.pid, ())
    areas = vmas.plan(mm.vmas, path_of, has_pages, area_notes.locked_on_fault(notes))
    return TaskPlan(
        entry.pid, entry.ppid, threads, record, membership, path_of(mm.exe_file_id), tuple(mm.vmas), tuple(areas), owners,
        guards.load(mm.vmas), notes,
    )  # fmt: skip


def _share_tables(layer: Layer, tasks: dict[int, TaskPlan]) -> list[Blocker]:
    """Say in *tasks* who clones whom; `verify` has found that it can be done. Returns why not all the same."""
    living = [entry for entry in layer.pstree if not tasks[entry.pid].is_zombie]
    relatives = [Relative(entry.pid, entry.ppid, entry.sid) for entry in living]
    origins, _ = plan_origins(relatives, kernel_objects({entry.pid: layer.ids(entry.pid) for entry in living}))
    found = []
    for pid, origin in origins.items():
        task, cloner = tasks[pid], tasks[origin.cloner or tasks[pid].parent or pid]
        task.record.shares = origin.shares
        tasks[pid] = replace(task, origin=origin)
        if not origin.execs and os.path.realpath(task.executable) != os.path.realpath(cloner.executable):
            why = f"it shares its descriptors with process {cloner.pid}, and does not run the same program"
            found.append(Blocker(f"executable {task.executable}", why, pid=pid))
    return found


def _task_blockers(task: TaskPlan) -> list[Blocker]:
    if task.is_zombie:
        return []
    found = _executable_blockers(task)
    found += stages.blockers(task.record, machine.this_machine())
    if task.owners is not None:
        found += machine.vdso_blockers(task.entries, task.owners, task.pid)
    return found


def _trial_blockers(layer: Layer, task: TaskPlan) -> list[Blocker]:
    """What this kernel says beforehand."""
    here = machine.this_machine()
    owned = task.owners.runs if task.owners else PageRuns.empty()
    found = trial.area_blockers(task.entries, task.areas, owned, here.user_end, here.capabilities)
    room = sum(slice_bytes(layer, task.pid, tid) for tid in task.threads) + layout.PARKING
    try:
        layout.free_span(task.spans, room)
    except ImageError as error:
        found.append(Blocker("address space", error.why))
    return found


def _writers_of_executables(layer: Layer, tasks: Mapping[int, TaskPlan]) -> list[Blocker]:
    """Files that something in the tree can write and something executes: the kernel allows one of both (ETXTBSY, execve(2))."""
    executed = {os.path.realpath(task.executable) for task in tasks.values() if not task.is_zombie}
    written = {area.path for task in tasks.values() for area in task.areas if area.path and area.open_flags & os.O_ACCMODE}
    held = {entry.id for task in tasks.values() if not task.is_zombie for entry in layer.fdinfo(layer.ids(task.pid).files_id)}
    written |= {path_of(layer.files[it].reg) for it in held if layer.files[it].HasField("reg") and layer.files[it].reg.flags & os.O_ACCMODE}
    both = [path for path in sorted(written) if os.path.realpath(path) in executed]
    return [Blocker(f"executable {path}", "the layer says that it is open for writing, and that is not possible") for path in both]


def _executable_blockers(task: TaskPlan) -> list[Blocker]:
    path = Path(task.executable)
    checks: tuple[tuple[Callable[[], bool], str, str], ...] = (
        (path.is_file, "it is not there", "install it again"),
        (lambda: os.access(path, os.X_OK), "it may not be executed", "chmod +x"),
        (lambda: not path.stat().st_mode & 0o6000, "it is set-uid or set-gid, which is not supported", ""),
    )
    for holds, why, fix in checks:
        if not holds():
            return [Blocker(f"executable {path}", why, fix, task.pid)]
    return []
