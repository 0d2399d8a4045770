"""Ids of kernel objects ↔ `task_kobj_ids_entry`: equal numbers mean one shared object, and the name of an fdinfo image is its files id."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

from lamina.core.errors import Blocker
from lamina.core.image.schema import task_kobj_ids_entry
from lamina.core.image.shared_tables import WORDS, Relative, groups_of, plan_origins
from lamina.core.objects.task_kind import TaskKind, TaskLook

_NAMESPACES: Final = ("pid_ns", "net_ns", "ipc_ns", "uts_ns", "mnt_ns", "user_ns", "cgroup_ns", "time_ns")
_OBJECTS: Final = ("vm", "files", "fs", "sighand")
_ROOT: Final = 1
_LINKS: Final = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts")
_OF_THREADS: Final = ("ipc", "mnt", "net", "uts")
"""setns(2) and unshare(2) of one thread reach these."""


class IdTable:
    """Ids of one dump. Every task has the namespaces of lamina, and memory and signal actions of its own: preflight refused all else."""

    def __init__(self, shared: Mapping[str, Mapping[int, int]] = MappingProxyType({})) -> None:
        """shared: "files" and "fs" → pid → whose it has, of those that have none of their own."""
        self._tasks: dict[int, int] = {}
        self._shared = shared

    def root(self) -> task_kobj_ids_entry:
        """For `inventory_entry.root_ids`: lamina's own. A task's equal namespace ids mean "not to be made again"."""
        return self._entry(_ROOT)

    def of(self, pid: int) -> task_kobj_ids_entry:
        """For ids-PID.img and `core_entry.ids`; the same for the same pid, counted in the order first asked."""
        entry = self._entry(self._number(pid))
        for name, owners in self._shared.items():
            setattr(entry, f"{name}_id", self._number(owners.get(pid, pid)))
        return entry

    def _number(self, pid: int) -> int:
        return self._tasks.setdefault(pid, _ROOT + 1 + len(self._tasks))

    @staticmethod
    def _entry(number: int) -> task_kobj_ids_entry:
        entry = task_kobj_ids_entry()
        for name in _OBJECTS:
            setattr(entry, f"{name}_id", number)
        for at, name in enumerate(_NAMESPACES):
            setattr(entry, f"{name}_id", _ROOT + at)
        return entry


@cache
def _own_links() -> Mapping[str, str]:
    return {name: _link(f"/proc/self/ns/{name}") for name in _LINKS}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


class Namespaces(TaskKind[None]):
    """namespaces(7): lamina's own, of every thread."""

    name = "namespaces"

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """Any other."""
        own = _own_links()
        foreign = [name for name in _LINKS if _link(f"/proc/{look.pid}/ns/{name}") != own[name]]
        for tid in look.tids[1:]:
            # A thread that ended meanwhile has no link at all.
            foreign += [name for name in _OF_THREADS if _link(f"/proc/{look.pid}/task/{tid}/ns/{name}") not in ("", own[name])]
        if foreign:
            names = ", ".join(name.replace("_for_children", " (for its children)") for name in dict.fromkeys(foreign))
            yield look.blocker(f"in a {names} namespace other than lamina's: not supported yet", "run lamina inside that container")


def foreign_namespaces(root: task_kobj_ids_entry, entry: task_kobj_ids_entry) -> Iterator[str]:
    """Namespaces of its own, by the ids of a task and those of the tool that dumped it."""
    for name in _NAMESPACES:
        field = f"{name}_id"
        both = entry.HasField(field) and root.HasField(field)
        if both and getattr(entry, field) != getattr(root, field):
            yield f"it had a {name.removesuffix('_ns')} namespace of its own, which is not supported"


def groups(by_pid: Mapping[int, task_kobj_ids_entry]) -> dict[str, dict[int, int]]:
    """Object → pid → the first pid that has the same, by their ids."""
    return {name: groups_of({pid: getattr(entry, f"{name}_id") for pid, entry in by_pid.items()}) for name in _OBJECTS}


def shared_objects(relatives: Sequence[Relative], by_pid: Mapping[int, task_kobj_ids_entry]) -> Iterator[str]:
    """What living processes share (clone with CLONE_VM, CLONE_FILES and so on) and a restore cannot let them share again."""
    found = groups(by_pid)
    for name in ("vm", "sighand"):
        for pid, owner in found[name].items():
            if owner != pid:
                yield f"process {pid} shares {WORDS[name]} with process {owner}: not supported yet"
    yield from (f"process {pid} {why}" for pid, why in plan_origins(relatives, found)[1].items())
