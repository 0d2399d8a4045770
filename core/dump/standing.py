"""What a task is, and how the tasks of a tree stand to each other, as far as it can keep a dump from being made. Reads only /proc."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.processes import ancestors_of, protected_reason
from lamina.core.attach.procfs import Stat, describe, is_running, read_maps, read_stat, threads_of
from lamina.core.attach.tree import scratch_bytes
from lamina.core.dump.areas import area_blockers
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.kinds.task import cgroups, rlimits
from lamina.core.objects.named_file import path_blocker
from lamina.core.objects.rawfd import KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_VM, is_shared, sharing

_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts")
# setns(2) and unshare(2) of one thread reach these.
_THREAD_NAMESPACES: Final = ("ipc", "mnt", "net", "uts")
_SHARED: Final = {
    KCMP_FILES: "its descriptor table",
    KCMP_FS: "its working directory and umask (CLONE_FS)",
    KCMP_VM: "its memory (CLONE_VM or vfork)",
    KCMP_SIGHAND: "its signal actions (CLONE_SIGHAND)",
}
RLIMIT_AS: Final = 9
_MAPPINGS: Final = 4
"""The scratch range, and what it is split into for a moment."""
_ELF32: Final = b"\x7fELF\x01"


def protected(pid: int) -> str | None:
    """Why lamina will not touch a process at all, or None. Cheap: two small files of /proc and our own ancestors.

    Raises:
        TargetError: there is no such process.
    """
    stat = read_stat(pid)
    us = os.getpid()
    reason = protected_reason(pid, stat.state, stat.flags, us, ancestors_of(us))
    if not reason and (tracer := _number(_status(pid, pid), b"TracerPid")):
        reason = f"traced by {describe(tracer)}"
    return reason or None


def _status(pid: int, tid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/task/{tid}/status").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetError("no such process", str(pid)) from error


def _number(status: bytes, key: bytes) -> int:
    """A decimal field of a raw /proc/PID/status; 0 if the kernel does not show it."""
    at = status.find(b"\n" + key + b":")
    return int(status[at + len(key) + 2 :].split(None, 1)[0]) if at >= 0 else 0


@cache
def _own_namespaces() -> Mapping[str, str]:
    return {name: _link(f"/proc/self/ns/{name}") for name in _NAMESPACES}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def may_trace(pid: int) -> bool:
    """Whether the kernel lets us trace it: the same check as ptrace's stands before /proc/PID/mem, and opening that changes nothing."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError as error:
        raise TargetError("no such process", str(pid)) from error
    return True


def _namespace_blockers(stat: Stat, tids: Sequence[int]) -> list[Blocker]:
    own = _own_namespaces()
    foreign = [name for name in _NAMESPACES if _link(f"/proc/{stat.pid}/ns/{name}") != own[name]]
    for tid in tids[1:]:
        # A thread that ended meanwhile has no link at all.
        foreign += [n for n in _THREAD_NAMESPACES if _link(f"/proc/{stat.pid}/task/{tid}/ns/{n}") not in ("", own[n])]
    names = [name.replace("_for_children", " (for its children)") for name in dict.fromkeys(foreign)]
    if not names:
        return []
    why = f"in a {', '.join(names)} namespace other than lamina's: not supported yet"
    return [Blocker(stat.comm, why, "run lamina inside that container", stat.pid)]


def _thread_blockers(stat: Stat, tids: Sequence[int]) -> list[Blocker]:
    """Tracers, filters, and what a thread does not share with its process."""
    found: dict[str, Blocker] = {}

    def add(why: str, fix: str = "") -> None:
        found.setdefault(why, Blocker(stat.comm, why, fix, stat.pid))

    for tid in tids:
        try:
            status = _status(stat.pid, tid)
        except TargetError:
            if tid == stat.pid:
                raise
            continue
        if tracer := _number(status, b"TracerPid"):
            add(f"traced by {describe(tracer)}", "let that program detach from it")
        if mode := _number(status, b"Seccomp"):
            add("runs under seccomp: not supported yet" if mode == 1 else "has a seccomp filter: not supported yet")
        if b"\nx86_Thread_features:\t" in status and b"shstk" in status.partition(b"\nx86_Thread_features:\t")[2].split(b"\n", 1)[0]:
            add("uses shadow stacks: not supported yet", "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off")
        if tid == stat.pid and _number(status, b"HugetlbPages"):
            add("uses huge pages (hugetlb): not supported yet")
        try:
            for kind in (KCMP_FILES, KCMP_FS) if tid != stat.pid else ():
                if not is_shared(stat.pid, tid, kind):
                    add(f"thread {tid} does not share {_SHARED[kind]} with the others: not supported yet")
        except NativeError as error:
            if error.errnum != 3:  # ESRCH: it ended
                add(f"cannot compare its threads: {error}", "see `lamina check`")
    return list(found.values())


def _place_blockers(stat: Stat) -> list[Blocker]:
    """Executable, working directory and root must still have their names; the executable must be of 64 bits."""
    found = []
    for name, what in (("exe", "executable"), ("cwd", "working directory"), ("root", "root directory")):
        place = f"/proc/{stat.pid}/{name}"
        try:
            link = os.readlink(place)
            info = Path(place).stat()
        except OSError as error:
            raise TargetError("no such process", str(stat.pid)) from error
        if why := path_blocker(link, info.st_dev, info.st_ino):
            fix = "start the program anew" if name == "exe" else "let it change to a directory that exists"
            found.append(Blocker(f"{what} {link}", why, fix, stat.pid))
    if _is_32_bit(stat.pid):
        found.append(Blocker(stat.comm, "a 32-bit program: not supported yet", pid=stat.pid))
    return found


def _is_32_bit(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/exe").open("rb") as file:
            return file.read(5) == _ELF32
    except OSError as error:
        raise TargetError("no such process", str(pid)) from error


def set_attributes(attr: Path) -> list[str]:
    """What a security module keeps for the next exec, file, key or socket of a task, as in "exec"; *attr*: its directory /proc/PID/attr."""
    found = []
    for name in ("exec", "fscreate", "keycreate", "sockcreate"):
        with suppress(OSError):  # no such security module
            if (attr / name).read_bytes().strip(b"\0\n "):
                found.append(name)
    return found


def _profile_blockers(stat: Stat) -> list[Blocker]:
    """A security profile (AppArmor, SELinux) other than ours: the restored program would run under ours."""
    if names := set_attributes(Path(f"/proc/{stat.pid}/attr")):
        return [Blocker(stat.comm, f"has set a security profile for its next {', '.join(names)}: not supported yet", pid=stat.pid)]
    try:
        profiles = [Path(f"/proc/{who}/attr/current").read_bytes().strip(b"\0\n") for who in ("self", stat.pid)]
    except OSError:
        return []  # no such security module
    if profiles[0] == profiles[1]:
        return []
    why = f"runs under the security profile {profiles[1].decode(errors='replace')}, and lamina does not: not supported yet"
    return [Blocker(stat.comm, why, "run lamina under the same profile", stat.pid)]


def task_blockers(stat: Stat) -> list[Blocker]:
    """Everything about one living task but its descriptors.

    Raises:
        TargetError: it ended meanwhile.
    """
    tids = threads_of(stat.pid)
    if stat.state == "Z":
        why = "its first thread has ended while others run on: not supported yet"
        return [Blocker(stat.comm, why, pid=stat.pid)] if len(tids) > 1 else []
    found = []
    if stat.state == "T":
        found.append(Blocker(stat.comm, "stopped by a signal: not supported yet", f"let it go on: kill -CONT {stat.pid}", stat.pid))
    found += _namespace_blockers(stat, tids)
    found += _thread_blockers(stat, tids)
    found += _place_blockers(stat)
    found += _profile_blockers(stat)
    areas = read_maps(stat.pid)
    found += area_blockers(stat.pid, areas)
    found += _room_blockers(stat, len(tids), len(areas))
    return found


def _room_blockers(stat: Stat, threads: int, areas: int) -> list[Blocker]:
    """Calls are made inside it from memory that is mapped for a moment: its limits must leave room for that."""
    found = []
    needed = scratch_bytes(threads)
    soft = rlimits.read(stat.pid)[RLIMIT_AS][0]
    used = 1024 * _number(_status(stat.pid, stat.pid), b"VmSize")
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
    for kind, what in _SHARED.items():
        for pid, other in _sharing_of_the_living(pids, kind):
            if pid in living:
                why = f"shares {what} with {describe(other)}: not supported yet"
                found.append(Blocker(living[pid].comm, why, pid=pid))
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
