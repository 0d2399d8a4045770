"""What a task is, and how the tasks of a tree stand to each other, as far as it can keep a dump from being made. Reads only /proc."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lamina.core.attach.processes import ancestors_of, protected_reason
from lamina.core.attach.procfs import Stat, describe, is_running, read_maps, read_stat, status_number, threads_of
from lamina.core.attach.tree import scratch_bytes
from lamina.core.dump.areas import area_blockers
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.image.shared_tables import WORDS, Relative, plan_origins
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.kinds.task import cgroups, rlimits
from lamina.core.objects.rawfd import KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_VM, is_shared, sharing
from lamina.core.objects.task_kind import TaskLook, ThreadLook

_TABLES: Final = {"files": KCMP_FILES, "fs": KCMP_FS, "vm": KCMP_VM, "sighand": KCMP_SIGHAND}
RLIMIT_AS: Final = 9
_MAPPINGS: Final = 4
"""The scratch range, and what it is split into for a moment."""


def protected(pid: int) -> str | None:
    """Why lamina will not touch a process at all, or None. Cheap: two small files of /proc and our own ancestors.

    Raises:
        TargetError: there is no such process.
    """
    stat = read_stat(pid)
    us = os.getpid()
    reason = protected_reason(pid, stat.state, stat.flags, us, ancestors_of(us))
    if not reason and (tracer := status_number(_status(pid, pid), b"TracerPid")):
        reason = f"traced by {describe(tracer)}"
    return reason or None


def _status(pid: int, tid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/task/{tid}/status").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetError("no such process", str(pid)) from error


def may_trace(pid: int) -> bool:
    """Whether the kernel lets us trace it: the same check as ptrace's stands before /proc/PID/mem, and opening that changes nothing."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError as error:
        raise TargetError("no such process", str(pid)) from error
    return True


def _thread_blockers(look: TaskLook) -> list[Blocker]:
    """Tracers, what a thread does not share with its process, and what kinds say of each thread."""
    found: dict[str, Blocker] = {}

    def add(blocker: Blocker) -> None:
        found.setdefault(blocker.why, blocker)

    for tid in look.tids:
        try:
            thread = ThreadLook(look, tid, _status(look.pid, tid))
        except TargetError:
            if tid == look.pid:
                raise
            continue
        if tracer := thread.number(b"TracerPid"):
            add(look.blocker(f"traced by {describe(tracer)}", "let that program detach from it"))
        for kind in ATTRIBUTES.threads:
            for blocker in kind.blockers(thread):
                add(blocker)
        try:
            for name in ("files", "fs") if tid != look.pid else ():
                if not is_shared(look.pid, tid, _TABLES[name]):
                    add(look.blocker(f"thread {tid} does not share {WORDS[name]} with the others: not supported yet"))
        except NativeError as error:
            if error.errnum != 3:  # ESRCH: it ended
                add(look.blocker(f"cannot compare its threads: {error}", "see `lamina check`"))
    return list(found.values())


def task_blockers(stat: Stat) -> list[Blocker]:
    """Everything about one living task but its descriptors.

    Raises:
        TargetError: it ended meanwhile.
    """
    tids = threads_of(stat.pid)
    if stat.state == "Z":
        why = "its first thread has ended while others run on: not supported yet"
        return [Blocker(stat.comm, why, pid=stat.pid)] if len(tids) > 1 else []
    look = TaskLook(stat, tids, _status(stat.pid, stat.pid))
    found = _thread_blockers(look)
    for kind in ATTRIBUTES.tasks:
        found += kind.blockers(look)
    areas = read_maps(stat.pid)
    found += area_blockers(stat.pid, areas)
    found += _room_blockers(look, len(areas))
    return found


def _room_blockers(look: TaskLook, areas: int) -> list[Blocker]:
    """Calls are made inside it from memory that is mapped for a moment: its limits must leave room for that."""
    found = []
    stat, needed = look.stat, scratch_bytes(len(look.tids))
    soft = rlimits.read(stat.pid)[RLIMIT_AS][0]
    used = 1024 * look.number(b"VmSize")
    if used + needed > soft:
        why = f"its limit on memory (RLIMIT_AS, {soft >> 10} KiB) leaves {max(soft - used, 0) >> 10} KiB, and {needed >> 10} KiB are needed"
        found.append(Blocker(stat.comm, f"{why} for calls inside it", f"prlimit --pid {stat.pid} --as={soft + needed}:", stat.pid))
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
    except OSError:
        return found
    if areas + _MAPPINGS > most:
        why = f"it has {areas} mappings, and {_MAPPINGS} more are needed for calls inside it: {most} are allowed"
        found.append(Blocker(stat.comm, why, f"sysctl vm.max_map_count={2 * most}", stat.pid))
    return found


def _sharing_of_the_living(pids: list[int], kind: int) -> list[tuple[int, int]]:
    """As `sharing`, without those that end meanwhile: a shell's children come and go.

    Raises:
        NativeError: as `sharing`, if nobody has ended.
    """
    while True:
        try:
            return sharing(pids, kind)
        except NativeError:
            left = [pid for pid in pids if is_running(pid)]
            if len(left) == len(pids):
                raise
            pids = left


def sharing_blockers(stats: Sequence[Stat]) -> list[Blocker]:
    """What living tasks share that only threads should; the parent of the root is compared too (a vfork under way)."""
    living = {stat.pid: stat for stat in stats if stat.state != "Z"}
    pids = list(living)
    root = stats[0]
    if root.ppid and may_trace(root.ppid):
        pids.insert(0, root.ppid)
    found = []
    groups: dict[str, dict[int, int]] = {}
    for name, kind in _TABLES.items():
        groups[name] = dict(_sharing_of_the_living(pids, kind))
        for pid, other in groups[name].items():
            if pid in living and (name in ("vm", "sighand") or other not in living):
                why = f"shares {WORDS[name]} with {describe(other)}: not supported yet"
                found.append(Blocker(living[pid].comm, why, pid=pid))
    if not found:
        relatives = [Relative(stat.pid, stat.ppid if stat is not root else 0, stat.session) for stat in living.values()]
        found += [Blocker(living[pid].comm, why, pid=pid) for pid, why in plan_origins(relatives, groups)[1].items()]
    return found


def relation_blockers(stats: Sequence[Stat]) -> list[Blocker]:
    """Sessions and process groups that could not be made again: their leader is gone, or they are older than the tree's shape."""
    root = stats[0]
    by_pid = {stat.pid: stat for stat in stats}
    inherited = {root.pid: root.session}
    found = []
    for stat in stats[1:]:
        parent = by_pid.get(stat.ppid, root)
        # A child may be older than the session its parent leads: then it has the one its parent had before.
        before = inherited.get(parent.pid, root.session) if parent.session == parent.pid else parent.session
        inherited[stat.pid] = stat.session if stat.session != stat.pid else parent.session
        if stat.session not in (stat.pid, parent.session, before):
            gone = "which no ancestor of it leads" if stat.session in by_pid else "whose leader has ended"
            found.append(Blocker(stat.comm, f"in session {stat.session}, {gone}: not supported yet", pid=stat.pid))
        elif not _has_group(stat, root, by_pid):
            why = f"in process group {stat.pgrp}, whose leader has ended: not supported yet"
            found.append(Blocker(stat.comm, why, pid=stat.pid))
    return found


def _has_group(stat: Stat, root: Stat, by_pid: Mapping[int, Stat]) -> bool:
    if stat.pgrp == root.pgrp and stat.session == root.session:
        return True
    leader = by_pid.get(stat.pgrp)
    return leader is not None and leader.session == stat.session


def session_note(root: Stat, terminals: Collection[str], shell_job: bool) -> str:
    """What restore will do about a session that is not the tree's own, or ""."""
    if root.session == root.pid or terminals or shell_job:
        return ""
    who = describe(root.session) if root.session else "outside our namespace"
    tail = " without its controlling terminal" if root.tty_nr else ""
    return f"its session belongs to {who}: restore gives the tree a session of its own{tail}"


def control_group_note(stats: Sequence[Stat]) -> str:
    """Who is in a control group that cannot be joined again from here, because it lies outside the root of ours; or ""."""
    lost = []
    for stat in stats:
        with suppress(TargetError):
            if stat.state != "Z" and any(cgroups.unreachable(stat.pid, tid) for tid in threads_of(stat.pid)):
                lost.append(stat)
    if not lost:
        return ""
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"the control group of {describe(lost[0].pid)}{more} is not kept: it lies outside the root of lamina's own"
