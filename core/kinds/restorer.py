"""What a layer says about descriptors, checked, and what kinds may use while they plan and open them in the restorer."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lamina.core.errors import ImageError
from lamina.core.image.format import TaskState
from lamina.core.image.schema import eventpoll_file_entry, fdinfo_entry, file_entry, task_kobj_ids_entry, tty_info_entry
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.supplement import Supplement, Values
from lamina.core.kinds.descriptors import KINDS
from lamina.core.kinds.files.regfile import path_of
from lamina.core.objects.fdkind import DescriptorKind, Opening

# Above any fs.nr_open in use; a larger number in an image is a lie.
_FD_LIMIT: Final = 1 << 30
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
    @property
    def pipes_data(self) -> Iterable[tuple[Any, bytes]]: ...  # noqa: D102
    @property
    def tty_info(self) -> dict[int, tty_info_entry]: ...  # noqa: D102
    def fdinfo(self, files_id: int) -> tuple[fdinfo_entry, ...]: ...  # noqa: D102
    def ids(self, pid: int) -> task_kobj_ids_entry: ...  # noqa: D102
    def core(self, tid: int) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class OpenOptions:
    """How descriptions are opened.

    Attributes:
        shell_job: the tree gets our terminal.
        terminal: a descriptor of that terminal; -1: our standard input, output or error, whichever is one, else /dev/tty.
        ending: processes that will have ended before `open_descriptions` (restore --replace): what they hold is no hindrance.
    """

    shell_job: bool = False
    terminal: int = -1
    ending: frozenset[int] = frozenset()


def kind_of_entry(entry: file_entry) -> DescriptorKind | None:
    """The kind that rebuilds a record, or None."""
    return next((kind for kind in KINDS if kind.type == entry.type and entry.HasField(kind.field)), None)


def read_tables(layer: LayerFiles) -> Tables:
    """pid → its descriptors, ascending; tasks that have ended have none.

    Raises:
        ImageError: a table is missing or cannot be one.
    """
    tables = {}
    for pid in layer.pids:
        if layer.core(pid).tc.task_state == TaskState.DEAD:
            continue
        entries = tuple(sorted(layer.fdinfo(layer.ids(pid).files_id), key=lambda entry: entry.fd))
        numbers = [entry.fd for entry in entries]
        if len(set(numbers)) != len(numbers) or (numbers and numbers[-1] >= _FD_LIMIT):
            raise ImageError("damaged image", f"fdinfo-{layer.ids(pid).files_id}.img", "a descriptor number occurs twice or is none")
        for entry in entries:
            if entry.id not in layer.files:
                raise ImageError("damaged image", "files.img", f"it lacks file {entry.id}, fd {entry.fd} of process {pid}")
        tables[pid] = entries
    return tables


class Restorer(Opening):
    """What kinds use while they open; holds both ends of a pipe until all its descriptions are open."""

    def __init__(self, layer: LayerFiles, options: OpenOptions) -> None:
        self.shell_job = options.shell_job
        self.ending = options.ending
        self._terminal = options.terminal
        self._own_terminal = -1
        self._pipes: dict[int, tuple[int, int]] = {}
        self._claimed: set[int] = set()
        self._pipe_entries: dict[int, list[Any]] = {}
        for entry in layer.files.values():
            if entry.HasField("pipe"):
                self._pipe_entries.setdefault(entry.pipe.pipe_id, []).append(entry.pipe)
        self._pipe_waits = {pipe_id: len(entries) for pipe_id, entries in self._pipe_entries.items()}
        self._supplement = layer.sidecar.supplement if layer.sidecar else Supplement()
        self._data = {record.pipe_id: (record.size, content) for record, content in layer.pipes_data}

    def pipe_data(self, pipe_id: int) -> tuple[int, bytes]:
        """Size and content of a pipe; size 0 if not recorded."""
        return self._data.get(pipe_id, (0, b""))

    def pipe_ends(self, pipe_id: int, make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """Both ends, made by *make* the first time."""
        if pipe_id not in self._pipes:
            self._pipes[pipe_id] = make()
        return self._pipes[pipe_id]

    def opened(self, entry: file_entry) -> None:
        """*entry* is open: of a pipe whose every description is, nothing more is needed here."""
        if entry.HasField("pipe"):
            waiting = self._pipe_waits[entry.pipe.pipe_id] - 1
            self._pipe_waits[entry.pipe.pipe_id] = waiting
            if not waiting:
                for fd in self._pipes.pop(entry.pipe.pipe_id, ()):
                    os.close(fd)
                    self._claimed.discard(fd)  # the next pipe may get this number

    def supplement(self, ident: int) -> Values:
        """What the supplement has of file *ident*."""
        return self._supplement.files.get(ident, {})

    def claim(self, end: int) -> bool:
        """Whether *end* is asked for the first time."""
        first = end not in self._claimed
        self._claimed.add(end)
        return first

    def pipe_entries(self, pipe_id: int) -> list[Any]:
        """All records of a pipe."""
        return self._pipe_entries.get(pipe_id, [])

    def terminal(self) -> int:
        """A descriptor of the terminal the tree gets, -1 if there is none."""
        if self._terminal < 0:
            self._terminal = next((fd for fd in (0, 1, 2) if _is_terminal(fd)), -1)
        if self._terminal < 0:
            try:
                self._terminal = self._own_terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                return -1
        return self._terminal

    def close(self) -> None:
        """Let go of pipes and of our terminal. Idempotent."""
        for ends in self._pipes.values():
            for fd in ends:
                os.close(fd)
        self._pipes.clear()
        if self._own_terminal >= 0:
            os.close(self._own_terminal)
            self._own_terminal = self._terminal = -1


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def name_of(entry: file_entry, users: Iterable[tuple[int, int]]) -> str:
    """A description in words, with the first descriptor that uses it."""
    pid, fd = next(iter(users))
    kind = kind_of_entry(entry)
    what = path_of(entry.reg) if entry.HasField("reg") else kind.name if kind else f"of type {entry.type}"
    return f"fd {fd} of process {pid} ({what})"


def users_of(tables: Tables) -> dict[int, list[tuple[int, int]]]:
    """File id → the descriptors that name it, as (pid, number), in tree order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for pid, entries in tables.items():
        for entry in entries:
            found.setdefault(entry.id, []).append((pid, entry.fd))
    return found


def maker_of(record: eventpoll_file_entry, users: list[tuple[int, int]], tables: Tables) -> tuple[int, int]:
    """Which task makes an epoll, and as which number: the first that has all numbers it watches.

    Raises:
        ImageError: no task has.
    """
    wanted = {watch.tfd for watch in record.tfd}
    for pid, fd in users:
        if wanted <= {entry.fd for entry in tables[pid]}:
            return pid, fd
    raise ImageError("damaged image", "files.img", f"epoll {record.id} watches descriptors that no task has")
