"""Ids of kernel objects ↔ `task_kobj_ids_entry`: equal numbers mean one shared object, and the name of an fdinfo image is its files id."""

from typing import Final

from lamina.core.errors import Blocker
from lamina.core.image.schema import inventory_entry, task_kobj_ids_entry

_NAMESPACES: Final = ("pid_ns", "net_ns", "ipc_ns", "uts_ns", "mnt_ns", "user_ns", "cgroup_ns", "time_ns")
_OBJECTS: Final = ("vm", "files", "fs", "sighand")
_ROOT: Final = 1


class IdTable:
    """Ids of one dump. Every task has objects of its own and the namespaces of lamina: preflight refused all else."""

    def __init__(self) -> None:
        self._tasks: dict[int, int] = {}

    def root(self) -> task_kobj_ids_entry:
        """For `inventory_entry.root_ids`: lamina's own. A task's equal namespace ids mean "not to be made again"."""
        return self._entry(_ROOT)

    def of(self, pid: int) -> task_kobj_ids_entry:
        """For ids-PID.img and `core_entry.ids`; the same for the same pid, counted in the order first asked."""
        return self._entry(self._tasks.setdefault(pid, _ROOT + 1 + len(self._tasks)))

    @staticmethod
    def _entry(number: int) -> task_kobj_ids_entry:
        entry = task_kobj_ids_entry()
        for name in _OBJECTS:
            setattr(entry, f"{name}_id", number)
        for at, name in enumerate(_NAMESPACES):
            setattr(entry, f"{name}_id", _ROOT + at)
        return entry


def blockers(inventory: inventory_entry, ids: task_kobj_ids_entry, pid: int) -> list[Blocker]:
    """Namespaces of its own, which restore cannot make."""
    found = []
    for name in _NAMESPACES:
        field = f"{name}_id"
        own = ids.HasField(field) and inventory.root_ids.HasField(field)
        if own and getattr(ids, field) != getattr(inventory.root_ids, field):
            found.append(Blocker(f"{name.removesuffix('_ns')} namespace", "the program had its own, which is not supported", pid=pid))
    return found


def shared(ids: dict[int, task_kobj_ids_entry]) -> list[Blocker]:
    """Objects that two processes share (clone with CLONE_VM, CLONE_FILES …), which restore cannot make. *ids* by pid."""
    found = []
    for name in _OBJECTS:
        owners: dict[int, int] = {}
        for pid, entry in ids.items():
            number = getattr(entry, f"{name}_id")
            if number in owners:
                found.append(Blocker(f"{name} shared with process {owners[number]}", "such sharing is not supported", pid=pid))
            owners.setdefault(number, pid)
    return found
