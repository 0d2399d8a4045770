"""What is taken inside the freeze, as values; nothing here encodes or writes.

Order matters: memory first, because a batch of ours writes into the target; questions to the inside next; queued signals last, since a
timer may fire while we look.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from lamina.core.attach.calls import CallList
from lamina.core.attach.frozen import FrozenTask, FrozenThread
from lamina.core.attach.procfs import Area, read_smaps, read_stat, read_status
from lamina.core.attach.tracee import Tracee
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import RefusedError, TargetError
from lamina.core.kinds import area_notes, descriptors, posix_timers, vmas
from lamina.core.kinds.inside import TaskQuestions, ThreadQuestions
from lamina.core.kinds.landlock import Peers, credentials
from lamina.core.kinds.outside import look_at_task, look_at_thread

AreaKey = tuple[int, int, str, int, int, str]
Areas = dict[AreaKey, Area]


@dataclass(frozen=True)
class Captured:
    """A frozen tree: its tasks, parents before children, zombies included, and their descriptors."""

    tasks: tuple[FrozenTask, ...]
    descriptors: descriptors.Captured


def known_areas(pids: Iterable[int]) -> dict[int, Areas]:
    """Every area with its VmFlags, read before the freeze: smaps walks the page tables, ms for each GiB."""
    known: dict[int, Areas] = {}
    for pid in pids:
        with suppress(TargetError):  # one that has ended is not in the freeze, or its areas are read there
            known[pid] = {_key(area): area for area in read_smaps(pid)}
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


def capture_task(process: FrozenProcess, areas: tuple[Area, ...], guards: PageRuns, peers: Peers) -> FrozenTask:
    """One frozen process, whose scratch range is ready, but for queued signals (`with_signals`). *guards*: its guard pages.

    Raises:
        RefusedError: something that only the inside shows is not supported.
    """
    pid = process.pid
    status = read_status(pid)
    lists = {tracee.tid: CallList() for tracee in process.tracees}
    peer = peers.of(status)
    threads = {tid: ThreadQuestions(calls, tid, peer) for tid, calls in lists.items()}
    leader = process.leader
    task = TaskQuestions(lists[pid], pid, leader.spare_page, posix_timers.read(pid))
    process.run_everywhere(lists)
    keyring = threads[pid].session_keyring
    return FrozenTask(
        pid=pid,
        stat=read_stat(pid),
        status=status,
        areas=areas,
        guards=tuple(guards),
        threads=tuple(_thread(tracee, threads[tracee.tid], keyring, status) for tracee in process.tracees),
        area_notes=area_notes.read(leader, areas),
        **task.answers(),
        **look_at_task(pid, status),
    )


def _thread(tracee: Tracee, questions: ThreadQuestions, keyring: int, of_leader: dict[str, str]) -> FrozenThread:
    raw = tracee.thread
    looks = look_at_thread(tracee.pid, tracee.tid)
    rseq = (int(raw.rseq_address), int(raw.rseq_size), int(raw.rseq_signature)) if raw.rseq_address else None
    return FrozenThread(
        tid=tracee.tid,
        regs=tracee.registers(),
        xstate=tracee.xstate(),
        sigmask=int(raw.sigmask),
        rseq=rseq,
        robust=(int(raw.robust_head), int(raw.robust_size)),
        signals=(),
        **questions.answers(keyring, credentials(looks["status"]) == credentials(of_leader)),
        **looks,
    )


def with_signals(task: FrozenTask, process: FrozenProcess) -> FrozenTask:
    """The task with its queued signals: read last."""
    queues = {tracee.tid: tracee.queued_signals(shared=False) for tracee in process.tracees}
    threads = tuple(replace(thread, signals=queues[thread.tid]) for thread in task.threads)
    return replace(task, threads=threads, signals=process.leader.queued_signals(shared=True))


def capture_rest(tree: FrozenTree, tasks: dict[int, FrozenTask], own_uffds: set[int]) -> Captured:
    """Descriptors, zombies and queued signals, after every task was captured."""
    files = descriptors.capture([process.pid for process in tree], own_uffds)
    try:
        full = {process.pid: with_signals(tasks[process.pid], process) for process in tree}
        for pid in tree.zombies:
            full[pid] = FrozenTask(pid, read_stat(pid), read_status(pid))
        return Captured(tuple(full[pid] for pid in tree.pids), files)
    except BaseException:
        files.close()
        raise
