"""A frozen task as images: each kind saves its part, here they are put into the records that CRIU wants.

CRIU's required fields: `tc` and `ids` in the leader's core only, `thread_info` and `thread_core` in every thread's; a zombie has a core
with `tc` alone and no other image.
"""

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from lamina.core.attach.frozen import FrozenTask, FrozenThread
from lamina.core.dirty.runs import PageRuns
from lamina.core.image.format import TaskState
from lamina.core.image.schema import core_entry, mm_entry, task_core_entry, task_kobj_ids_entry, thread_core_entry
from lamina.core.image.supplement import Supplement, Values
from lamina.core.kinds.memory import area_notes, guards, mm, vmas
from lamina.core.kinds.task import fs, itimers, loginuid, membarrier, oom, posix_timers, rlimits, sigactions, subreaper
from lamina.core.kinds.thread import altstack, comm, creds, pdeath, pending, registers, robust, rseq, sched
from lamina.core.objects.paths import PathTable

CG_SET = 1
"""The one cgroup set: equal to `inventory_entry.root_cg_set`, it means lamina's own, not to be made again."""

Images = dict[str, tuple[str, list[Message]]]
"""Name of the image without ".img" → (kind, records)."""


def save_thread(thread: FrozenThread) -> core_entry:
    """The core of one thread, without what only the leader's has.

    Raises:
        TargetError: registers that the format cannot hold.
    """
    core = thread_core_entry(
        blk_sigset=thread.sigmask, comm=comm.save(thread.comm), sas=altstack.save(thread.altstack),
        signals_p=pending.save(thread.signals), creds=creds.save(thread.status, thread.securebits), cg_set=CG_SET,
    )  # fmt: skip
    robust.save(thread.robust, core)
    rseq.save(thread.rseq, core)
    sched.save(thread.sched, core)
    pdeath.save(thread.pdeath_signal, core)
    return core_entry(mtype=core_entry.X86_64, thread_info=registers.save(thread.regs, thread.xstate, thread.clear_tid), thread_core=core)


def _task_core(task: FrozenTask) -> task_core_entry:
    leader = task.threads[0]
    timers = itimers.save(task.itimers)
    timers.posix.extend(posix_timers.save(task.posix_timers))
    tc = task_core_entry(
        task_state=TaskState.ALIVE, exit_code=0, personality=task.personality, flags=task.stat.flags, blk_sigset=leader.sigmask,
        comm=comm.save(leader.comm), timers=timers, rlimits=rlimits.save(task.limits), signals_s=pending.save(task.signals),
        sigactions=sigactions.save(task.sigactions),
    )  # fmt: skip
    subreaper.save(task.child_subreaper, tc)
    membarrier.save(task.membarrier, tc)
    oom.save(task.oom_score_adj, tc)
    loginuid.save(task.loginuid, tc)
    return tc


def save_zombie(task: FrozenTask) -> core_entry:
    """The core of a process that has exited: its name and its wait(2) status."""
    tc = task_core_entry(
        task_state=TaskState.DEAD, exit_code=task.stat.exit_code, personality=0, flags=task.stat.flags, blk_sigset=0,
        comm=comm.save(task.stat.comm),
    )  # fmt: skip
    return core_entry(mtype=core_entry.X86_64, tc=tc)


def save_mm(task: FrozenTask, files: PathTable) -> mm_entry:
    """The memory descriptor with its mappings.

    Raises:
        RefusedError: an area that `vmas.blocker` refuses.
    """
    answer = mm.MmAnswer(task.brk, task.dumpable, task.thp_disabled)
    areas = [*vmas.save(task.areas, files), *guards.save(PageRuns.of(task.guards))]
    return mm.save(task.stat, task.auxv, answer, files.path(task.exe), areas)


def save_task(task: FrozenTask, files: PathTable, ids: task_kobj_ids_entry) -> Images:
    """All images of one task but its pages and descriptors: core-TID of each thread, mm-PID, fs-PID, ids-PID. After the thaw.

    *ids* is `IdTable.of(task.pid)`; a zombie needs none.

    Raises:
        TargetError: registers that the format cannot hold. RefusedError: an area that it cannot hold.
    """
    if task.is_zombie:
        return {f"core-{task.pid}": ("core", [save_zombie(task)])}
    images: Images = {}
    for thread in task.threads:
        core = save_thread(thread)
        if thread.tid == task.pid:
            core.tc.CopyFrom(_task_core(task))
            core.ids.CopyFrom(ids)
        images[f"core-{thread.tid}"] = ("core", [core])
    images[f"mm-{task.pid}"] = ("mm", [save_mm(task, files)])
    images[f"fs-{task.pid}"] = ("fs", [fs.save(task.cwd, task.root, task.umask, files)])
    images[f"ids-{task.pid}"] = ("ids", [ids])
    return images


def supplement_of(tasks: Sequence[FrozenTask], files: Mapping[int, Values]) -> Supplement:
    """What the images of living *tasks* have no field for. *files*: of open files, by id in files.img."""
    return Supplement(
        threads={thread.tid: kept for task in tasks for thread in task.threads if (kept := thread.supplement | thread.looked_at)},
        tasks={task.pid: kept for task in tasks if (kept := task.supplement | task.looked_at)},
        areas={task.pid: notes for task in tasks if (notes := area_notes.save(task.area_notes, task.areas))},
        files=files,
    )
