"""Control groups (cgroups(7)) of processes and threads. Those that differ from lamina's at the dump are kept in the supplement and joined
again if they are there; who was in lamina's is in those of the lamina that restores.

A set of criu names those it ran in itself (`root_cg_set`) and, of tasks in others, what to make (cgroup.img): those are not made again, and
that is said.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.errors import TargetError
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.objects.task_kind import CG_SET, CapturedThread, Stage, ThreadKind, ThreadRecord

_UNIFIED: Final = ""
"""The controllers of the one hierarchy of version 2."""


def groups_of(pid: int | str, tid: int | str) -> dict[str, str]:
    """In which groups a thread is: controllers of a hierarchy → path in it; empty on a kernel without any.

    Raises:
        TargetError: the thread is gone.
    """
    return _numbered(read_text(pid, tid))


def read_text(pid: int | str, tid: int | str) -> str:
    """/proc/PID/task/TID/cgroup; "" on a kernel without any.

    Raises:
        TargetError: the thread is gone.
    """
    try:
        return Path(f"/proc/{pid}/task/{tid}/cgroup").read_text()
    except FileNotFoundError:
        if Path(f"/proc/{pid}/task/{tid}").exists():
            return ""
        raise TargetError("no such thread", str(tid)) from None
    except OSError as error:
        raise TargetError("cannot read", f"control groups of thread {tid}", os.strerror(error.errno or 0)) from error


def _numbered(text: str) -> dict[str, str]:
    # "4:memory:/a:b": a path may hold colons.
    return {words[1]: words[2] for line in text.splitlines() if len(words := line.split(":", 2)) == 3}


def _kept(text: Value) -> dict[str, str]:
    return dict(line.split(":", 1) for line in str(text).splitlines())


@cache
def _ours() -> dict[str, str]:
    # Once: it is compared with every thread, and nobody moves lamina from one group to another while it runs.
    return groups_of("self", os.getpid())


def foreign(pid: int, tid: int) -> dict[str, str]:
    """The groups of a thread that are not lamina's own."""
    return _not_ours(groups_of(pid, tid))


def _not_ours(groups: Mapping[str, str]) -> dict[str, str]:
    return {controllers: path for controllers, path in groups.items() if _ours().get(controllers) != path}


def _outside(path: str) -> bool:
    return ".." in path.split("/") or "\n" in path


def unreachable(pid: int, tid: int) -> bool:
    """Whether a thread is in a group outside the root of lamina's own control group namespace: it cannot be put back there."""
    return any(map(_outside, foreign(pid, tid).values()))


@cache
def _mounts() -> dict[str, str]:
    """Controllers of a hierarchy → where its root is mounted."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        kind, options = words[words.index("-") + 1], words[-1].split(",")
        if words[3] != "/" or kind not in ("cgroup", "cgroup2"):
            continue
        found.setdefault(_UNIFIED if kind == "cgroup2" else _by_options(options), words[4])
    return found


def _by_options(options: Iterable[str]) -> str:
    return ",".join(sorted(set(options) - {"rw", "ro", "xattr", "clone_children", "noprefix", "release_agent"}))


def _join(pid: int, tid: int, controllers: str, path: str) -> str:
    mounted = _mounts().get(",".join(sorted(controllers.split(","))) if controllers else _UNIFIED)
    if mounted is None:
        return "its hierarchy is not mounted"
    group = Path(mounted) / path.lstrip("/")
    if not group.is_dir():
        return "there is none of that name"
    if _is_frozen(group):
        return "it is frozen"
    file, number = ("tasks", tid) if controllers != _UNIFIED else ("cgroup.procs", pid) if tid == pid else ("cgroup.threads", tid)
    try:
        (group / file).write_text(str(number))
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def _is_frozen(group: Path) -> bool:
    for name, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        try:
            if (group / name).read_text().strip() != thawed:
                return True
        except OSError:
            continue
    return False


def _set_of(core: core_entry) -> int:
    return core.thread_core.cg_set or core.tc.cg_set


class ControlGroups(ThreadKind[dict[str, str]]):
    """Controllers of a hierarchy → path in it, of those that differ from lamina's, but for groups outside our own root, which have no path
    here (see `unreachable`).
    """

    name = "cgroups"
    texts = ("cgroup",)
    stage = Stage.BEFORE_SWITCH

    def read(self, seen: CapturedThread) -> dict[str, str]:
        """Of the text."""
        groups = _numbered(seen.texts["cgroup"].decode(errors="surrogateescape"))
        return {controllers: path for controllers, path in _not_ours(groups).items() if not _outside(path)}

    def save(self, value: dict[str, str], core: core_entry) -> None:
        """CRIU wants the number of a set: the one there is."""
        core.thread_core.cg_set = CG_SET

    def supplement(self, value: dict[str, str]) -> Values:
        """One line each."""
        return {self.name: "\n".join(f"{controllers}:{path}" for controllers, path in sorted(value.items()))} if value else {}

    def write(self, threads: Sequence[ThreadRecord]) -> Iterable[str]:
        """Put the threads of a process back, the leader first; not into a frozen group: what is put there could not be let go."""
        failures: dict[str, str] = {}
        for thread in threads:
            for controllers, path in _kept(thread.kept.get(self.name, "")).items():
                if groups_of(thread.pid, thread.tid).get(controllers) == path:
                    continue
                if why := _join(thread.pid, thread.tid, controllers, path):
                    failures.setdefault(f"{controllers.removeprefix('name=')} {path}".strip(), why)
        return [f"process {threads[0].pid}: it is not in the control group {group} again: {why}" for group, why in failures.items()]

    def notices(self, layer: Layer) -> Iterable[str]:
        """Of programs that ran in other control groups than the criu that dumped them; nothing for all others."""
        own = layer.inventory.root_cg_set
        elsewhere = [pid for pid in layer.pids if own and (found := _set_of(layer.core(pid))) and found != own]
        if elsewhere:
            whose = ", ".join(str(pid) for pid in elsewhere)
            yield f"cgroup.img: the control groups of {whose} are not made again; they stay in those of lamina"
