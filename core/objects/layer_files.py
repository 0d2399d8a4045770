"""What a layer says about descriptors: who has which, checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from lamina.core.errors import ImageError
from lamina.core.image.format import TaskState
from lamina.core.image.records.limits import FD_LIMIT
from lamina.core.image.schema import fdinfo_entry, file_entry, task_kobj_ids_entry
from lamina.core.image.sidecar import Sidecar

Tables = dict[int, tuple[fdinfo_entry, ...]]
"""pid → its descriptors, ascending by number."""


class LayerFiles(Protocol):
    """What is read of a layer; `image.layer.Layer` is one."""

    @property
    def pids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def sidecar(self) -> Sidecar | None: ...  # noqa: D102
    @property
    def files(self) -> dict[int, file_entry]: ...  # noqa: D102
    def records(self, name: str) -> Sequence[tuple[Any, bytes]]: ...  # noqa: D102
    def fdinfo(self, files_id: int) -> tuple[fdinfo_entry, ...]: ...  # noqa: D102
    def ids(self, pid: int) -> task_kobj_ids_entry: ...  # noqa: D102
    def core(self, tid: int) -> Any: ...  # noqa: D102


def read_tables(layer: LayerFiles) -> Tables:
    """pid → its descriptors, ascending; tasks that have ended, or share the table of one before them (CLONE_FILES), have none.

    Raises:
        ImageError: a table is missing or cannot be one.
    """
    tables = {}
    seen: set[int] = set()
    for pid in layer.pids:
        if layer.core(pid).tc.task_state == TaskState.DEAD or layer.ids(pid).files_id in seen:
            continue
        seen.add(layer.ids(pid).files_id)
        entries = tuple(sorted(layer.fdinfo(layer.ids(pid).files_id), key=lambda entry: entry.fd))
        numbers = [entry.fd for entry in entries]
        if len(set(numbers)) != len(numbers) or (numbers and numbers[-1] >= FD_LIMIT):
            raise ImageError("damaged image", f"fdinfo-{layer.ids(pid).files_id}.img", "a descriptor number occurs twice or is none")
        for entry in entries:
            if entry.id not in layer.files:
                raise ImageError("damaged image", "files.img", f"it lacks file {entry.id}, fd {entry.fd} of process {pid}")
        tables[pid] = entries
    return tables


def reachable(users: Iterable[int], holds: Callable[[file_entry], Iterable[int]], files: Mapping[int, file_entry]) -> tuple[int, ...]:
    """Ids of all descriptions that tasks have (*users*), and of all that those hold, and so on. *holds*: see `KindTable.held_by`.

    Raises:
        ImageError: one is missing.
    """
    found = dict.fromkeys(users)
    left = list(found)
    while left:
        ident = left.pop()
        if ident not in files:
            raise ImageError("damaged image", "files.img", f"it lacks file {ident}")
        for other in holds(files[ident]):
            if other not in found:
                found[other] = None
                left.append(other)
    return tuple(found)


def users_of(tables: Tables) -> dict[int, list[tuple[int, int]]]:
    """File id → the descriptors that name it, as (pid, number), in tree order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for pid, entries in tables.items():
        for entry in entries:
            found.setdefault(entry.id, []).append((pid, entry.fd))
    return found
