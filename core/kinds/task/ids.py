"""Ids of kernel objects ↔ `task_kobj_ids_entry`: equal numbers mean one shared object, and the name of an fdinfo image is its files id."""

from typing import Final

from lamina.core.image.schema import task_kobj_ids_entry

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
