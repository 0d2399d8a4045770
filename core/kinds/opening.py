"""Descriptors of a layer, brought back: each description opened once in the restorer, then taken by every task that had it.

That keeps what is shared by dup and fork shared, and a refusal costs nothing, because no process exists yet.
"""

import errno
import os
import resource
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.image.schema import eventpoll_file_entry, fdinfo_entry, file_entry, task_kobj_ids_entry, tty_info_entry
from lamina.core.kinds.descriptors import KINDS
from lamina.core.kinds.fdkind import DescriptorKind, Opening
from lamina.core.kinds.files import path_blockers
from lamina.core.kinds.numbers import FreeNumbers, take_calls, watch_calls
from lamina.core.kinds.rawfd import O_ASYNC
from lamina.core.kinds.regfile import path_of

_F_SETFL, _F_SETSIG, _F_SETOWN_EX = 4, 10, 15
_DEAD: Final = 2  # task_core_entry.task_state of a zombie
# Above any fs.nr_open in use; a larger number in an image is a lie.
_FD_LIMIT: Final = 1 << 30
# Descriptors lamina itself needs beside those it opens.
_OWN: Final = 64


class LayerFiles(Protocol):
    """What is read of a layer; `image.layer.Layer` is one."""

    @property
    def pids(self) -> tuple[int, ...]: ...  # noqa: D102
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


def _kind_of(entry: file_entry) -> DescriptorKind | None:
    return next((kind for kind in KINDS if kind.type == entry.type and entry.HasField(kind.field)), None)


def _tables(layer: LayerFiles) -> dict[int, tuple[fdinfo_entry, ...]]:
    """pid → its descriptors, ascending; tasks that have ended have none.

    Raises:
        ImageError: a table is missing or cannot be one.
    """
    tables = {}
    for pid in layer.pids:
        if layer.core(pid).tc.task_state == _DEAD:
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


class _Restorer(Opening):
    """What kinds use while they open; holds pipes until all is open."""

    def __init__(self, layer: LayerFiles, options: OpenOptions) -> None:
        self._layer = layer
        self.shell_job = options.shell_job
        self.ending = options.ending
        self._terminal = options.terminal
        self._own_terminal = -1
        self._pipes: dict[int, tuple[int, int]] = {}
        self._claimed: set[int] = set()
        self._data = {record.pipe_id: (record.size, content) for record, content in layer.pipes_data}

    def reg(self, ident: int) -> Any:
        entry = self._layer.files.get(ident)
        return entry.reg if entry is not None and entry.HasField("reg") else None

    def pipe_data(self, pipe_id: int) -> tuple[int, bytes]:
        return self._data.get(pipe_id, (0, b""))

    def pipe_ends(self, pipe_id: int, make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        if pipe_id not in self._pipes:
            self._pipes[pipe_id] = make()
        return self._pipes[pipe_id]

    def claim(self, end: int) -> bool:
        first = end not in self._claimed
        self._claimed.add(end)
        return first

    def pipe_entries(self, pipe_id: int) -> list[Any]:
        return [e.pipe for e in self._layer.files.values() if e.HasField("pipe") and e.pipe.pipe_id == pipe_id]

    def terminal(self) -> int:
        if self._terminal < 0:
            self._terminal = next((fd for fd in (0, 1, 2) if _is_terminal(fd)), -1)
        if self._terminal < 0:
            try:
                self._terminal = self._own_terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                return -1
        return self._terminal

    def terminal_info(self, ident: int) -> tty_info_entry | None:
        return self._layer.tty_info.get(ident)

    def close(self) -> None:
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


def _name(entry: file_entry, users: Iterable[tuple[int, int]]) -> str:
    """A description in words, with the first descriptor that uses it."""
    pid, fd = next(iter(users))
    kind = _kind_of(entry)
    what = path_of(entry.reg) if entry.HasField("reg") else kind.name if kind else f"of type {entry.type}"
    return f"fd {fd} of process {pid} ({what})"


def _users(tables: dict[int, tuple[fdinfo_entry, ...]]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for pid, entries in tables.items():
        for entry in entries:
            found.setdefault(entry.id, []).append((pid, entry.fd))
    return found


def maker_of(record: eventpoll_file_entry, users: list[tuple[int, int]], tables: dict[int, tuple[fdinfo_entry, ...]]) -> tuple[int, int]:
    """Which task makes an epoll, and as which number: the first that has all numbers it watches.

    Raises:
        ImageError: no task has.
    """
    wanted = {watch.tfd for watch in record.tfd}
    for pid, fd in users:
        if wanted <= {entry.fd for entry in tables[pid]}:
            return pid, fd
    raise ImageError("damaged image", "files.img", f"epoll {record.id} watches descriptors that no task has")


def plan_descriptions(layer: LayerFiles, options: OpenOptions | None = None) -> list[Blocker]:
    """Everything that would keep `open_descriptions` from succeeding, and files that are mapped, executed or stood in that have changed.

    Touches nothing but for binding each listening address for a moment.

    Raises:
        ImageError: the images contradict themselves.
    """
    options = options or OpenOptions()
    tables = _tables(layer)
    restorer = _Restorer(layer, options)
    blockers = path_blockers(layer.files)
    seen = {(blocker.obj, blocker.why) for blocker in blockers}
    try:
        for ident, users in _users(tables).items():
            entry = layer.files[ident]
            kind = _kind_of(entry)
            if kind is None:
                blocker: Blocker | None = Blocker(_name(entry, users), "lamina cannot rebuild this kind of descriptor yet")
            else:
                if record := kind.inside(entry):
                    maker_of(record, users, tables)
                blocker = kind.plan(entry, restorer)
            if blocker and (blocker.obj, blocker.why) not in seen:
                seen.add((blocker.obj, blocker.why))
                blockers.append(blocker)
    finally:
        restorer.close()
    highest = max((entries[-1].fd for entries in tables.values() if entries), default=0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = max(len(_users(tables)) * 3 + _OWN, highest + 2)
    if 0 <= hard < needed:
        blockers.append(Blocker("descriptors", f"{needed} are needed, and {hard} allowed", "raise the hard limit: ulimit -Hn"))
    return blockers


class Descriptions:
    """The opened descriptions of a layer. A context manager: `close_all` at the end.

    Attributes:
        notices: sentences for the user.
    """

    def __init__(self, layer: LayerFiles, tables: dict[int, tuple[fdinfo_entry, ...]]) -> None:
        self._files = layer.files
        self._tables = tables
        self._users = _users(tables)
        self._fds: dict[int, int] = {}
        self._makers: dict[int, tuple[int, int]] = {}
        self._limit: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close_all()

    def close_all(self) -> None:
        """Let go of the restorer's copies (pipes above all: until then no reader sees their end). Idempotent."""
        while self._fds:
            os.close(self._fds.popitem()[1])
        if self._limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            self._limit = None

    # -- opening ---------------------------------------------------------------------------------------------------------------------

    def _raise_limit(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max((entries[-1].fd for entries in self._tables.values() if entries), default=0)
        needed = max(len(self._users) * 3 + _OWN, highest + 2)
        if soft != resource.RLIM_INFINITY and soft < needed:
            self._limit = (soft, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard))

    def _open(self, restorer: _Restorer) -> None:
        self._raise_limit()
        for ident, users in self._users.items():
            entry = self._files[ident]
            kind = _kind_of(entry)
            if kind is None:
                raise RefusedError("cannot restore", _name(entry, users), "lamina cannot rebuild this kind of descriptor yet")
            if record := kind.inside(entry):
                self._makers[ident] = maker_of(record, users, self._tables)
                continue
            try:
                self._fds[ident] = kind.rebuild(entry, restorer)
            except OSError as error:
                blocker = kind.plan(entry, restorer) or Blocker(_name(entry, users), os.strerror(error.errno or errno.EIO))
                raise RefusedError("cannot restore", blockers=(blocker,)) from error
            except (OverflowError, ValueError) as error:
                raise ImageError("damaged image", _name(entry, users), str(error)) from error

    # -- installing ------------------------------------------------------------------------------------------------------------------

    def install(self, pid: int, calls: CallList, holder: int = 0, occupied: Iterable[int] = ()) -> None:
        """Append the calls by which task *pid* gets its descriptors, except epolls that another task makes (see `share`).

        Run them in every task, in any order, before `share` and `finish`.

        holder: the process these descriptions are open in; 0: this one. occupied: numbers already in use in the task, all close-on-exec
        and none of them wanted.
        """
        entries = [entry for entry in self._tables.get(pid, ()) if self._is_mine(pid, entry)]
        holder = holder or os.getpid() if any(entry.id in self._fds for entry in entries) else 0
        take_calls(calls, entries, self._wanted(pid), FreeNumbers(occupied), holder, self._fds)
        for entry in entries:
            if self._makers.get(entry.id) == (pid, entry.fd):
                watch_calls(calls, entry.fd, self._files[entry.id].epfd)

    def share(self, pid: int, calls: CallList) -> None:
        """Append the calls by which *pid* gets epolls that another task of the tree has made: after `install` has run in all."""
        mine = {entry.fd for entry in self._tables.get(pid, ()) if self._is_mine(pid, entry)}
        table = FreeNumbers(mine)
        rest = [entry for entry in self._tables.get(pid, ()) if entry.fd not in mine]
        for maker in dict.fromkeys(self._makers[entry.id][0] for entry in rest):
            theirs = [entry for entry in rest if self._makers[entry.id][0] == maker]
            numbers = {entry.id: self._makers[entry.id][1] for entry in theirs}
            take_calls(calls, theirs, self._wanted(pid), table, maker, numbers)

    def finish(self, pid: int, calls: CallList) -> None:
        """Append the calls that say who gets SIGIO: after all processes and threads exist, and the task has its credentials."""
        for entry in self._tables.get(pid, ()):
            if self._users[entry.id][0] != (pid, entry.fd):
                continue
            file = self._files[entry.id]
            kind = _kind_of(file)
            owner = kind.owner(file) if kind else None
            if kind is None or owner is None:
                continue
            about = f"set who gets signals of fd {entry.fd}"
            if owner.signum:
                calls.add("fcntl", entry.fd, _F_SETSIG, owner.signum, expect=0, about=about)
            if owner.pid:
                where = calls.data(struct.pack("<ii", owner.pid_type, owner.pid))
                calls.add("fcntl", entry.fd, _F_SETOWN_EX, where, expect=0, about=about)
            flags = int(getattr(file, kind.field).flags)
            if flags & O_ASYNC:
                calls.add("fcntl", entry.fd, _F_SETFL, flags, expect=0, about=about)

    def _wanted(self, pid: int) -> set[int]:
        return {entry.fd for entry in self._tables.get(pid, ())}

    def _is_mine(self, pid: int, entry: fdinfo_entry) -> bool:
        maker = self._makers.get(entry.id)
        return maker is None or maker[0] == pid

def open_descriptions(layer: LayerFiles, options: OpenOptions | None = None) -> Descriptions:
    """Open every description of a layer once, in this process, close-on-exec. Nothing is left open if one cannot be.

    Raises:
        RefusedError: a description cannot be opened here; it is named.
        ImageError: the images contradict themselves.
    """
    descriptions = Descriptions(layer, _tables(layer))
    restorer = _Restorer(layer, options or OpenOptions())
    try:
        descriptions._open(restorer)
    except BaseException:
        descriptions.close_all()
        raise
    finally:
        restorer.close()
    return descriptions
