"""Descriptors of a layer, brought back: each description opened once in the restorer, then taken by every task that had it.

That keeps what is shared by dup and fork shared, and a refusal costs nothing, because no process exists yet.
"""

import errno
import os
import resource
import select
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.image.schema import fdinfo_entry, file_entry
from lamina.core.kinds.file_table import path_blockers
from lamina.core.kinds.files.tty import set_terminal
from lamina.core.kinds.restorer import LayerFiles, OpenOptions, Restorer, Tables, kind_of_entry, maker_of, name_of, read_tables, users_of
from lamina.core.kinds.task import rlimits
from lamina.core.objects.numbers import FreeNumbers, take_calls, watch_calls
from lamina.core.objects.rawfd import O_ASYNC

__all__ = ["Descriptions", "OpenOptions", "open_descriptions", "plan_descriptions"]

_F_SETFL, _F_SETSIG, _F_SETOWN_EX = 4, 10, 15
# Descriptors lamina itself needs beside those it opens.
_OWN: Final = 64


def plan_descriptions(layer: LayerFiles, options: OpenOptions | None = None) -> list[Blocker]:
    """Everything that would keep `open_descriptions` from succeeding, and files that are mapped, executed or stood in that have changed.

    Touches nothing but for binding each listening address for a moment.

    Raises:
        ImageError: the images contradict themselves.
    """
    options = options or OpenOptions()
    tables = read_tables(layer)
    restorer = Restorer(layer, options)
    blockers = path_blockers(layer.files)
    seen = {(blocker.obj, blocker.why) for blocker in blockers}
    try:
        for ident, users in users_of(tables).items():
            entry = layer.files[ident]
            kind = kind_of_entry(entry)
            if kind is None:
                blocker: Blocker | None = Blocker(name_of(entry, users), "lamina cannot rebuild this kind of descriptor yet")
            else:
                if record := kind.inside(entry):
                    maker_of(record, users, tables)
                blocker = kind.plan(entry, restorer)
            if blocker and (blocker.obj, blocker.why) not in seen:
                seen.add((blocker.obj, blocker.why))
                blockers.append(blocker)
    finally:
        restorer.close()
    needed, hard = _needed(tables, layer.files), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < needed and not _may_raise(needed):
        blockers.append(Blocker("descriptors", f"{needed} are needed, and {hard} allowed", f"raise the hard limit: ulimit -Hn {needed}"))
    return blockers


def _needed(tables: Tables, files: Mapping[int, file_entry]) -> int:
    """The limit on open files (RLIMIT_NOFILE) under which all of a layer can be opened here and in every task."""
    highest = max((entries[-1].fd for entries in tables.values() if entries), default=0)
    users = users_of(tables)
    watches = max((len(files[ident].epfd.tfd) for ident in users), default=0)
    # One for each description; both ends of pipes that are not whole yet; in the end, copies of what one epoll watches.
    halves = len({entry.pipe.pipe_id for ident in users if (entry := files[ident]).HasField("pipe")})
    # A task needs one number beside its own to reach us.
    held = len(os.listdir("/proc/self/fd"))
    return max(len(users) + max(2 * halves, watches) + held + _OWN, highest + 2)


def _may_raise(limit: int) -> bool:
    """Whether we may raise our own hard limit to *limit*."""
    try:
        bounded = limit > int(Path("/proc/sys/fs/nr_open").read_text())
    except (OSError, ValueError):
        bounded = False
    return not bounded and rlimits.may_raise()


class Descriptions:
    """The opened descriptions of a layer. A context manager: `close_all` at the end.

    Attributes:
        notices: sentences for the user.
    """

    def __init__(self, layer: LayerFiles, tables: Tables) -> None:
        self._files = layer.files
        self._tables = tables
        self._users = users_of(tables)
        self._fds: dict[int, int] = {}
        self._makers: dict[int, tuple[int, int]] = {}
        self._limit: tuple[int, int] | None = None
        self._terminals = layer.tty_info
        self._terminal = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close_all()

    def close_all(self) -> None:
        """Let go of the restorer's copies (pipes above all: until then no reader sees their end). Idempotent."""
        while self._fds:
            os.close(self._fds.popitem()[1])
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self._limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            self._limit = None

    # -- opening ---------------------------------------------------------------------------------------------------------------------

    def _raise_limit(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = _needed(self._tables, self._files)
        if soft != resource.RLIM_INFINITY and soft < needed:
            if 0 <= hard < needed and not _may_raise(needed):
                needed = hard
            self._limit = (soft, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard) if hard != resource.RLIM_INFINITY else hard))

    def _open(self, restorer: Restorer) -> None:
        self._raise_limit()
        if any(self._files[ident].HasField("tty") for ident in self._users) and restorer.terminal() >= 0:
            self._terminal = os.dup(restorer.terminal())
        for ident, users in self._users.items():
            entry = self._files[ident]
            kind = kind_of_entry(entry)
            if kind is None:
                raise RefusedError("cannot restore", name_of(entry, users), "lamina cannot rebuild this kind of descriptor yet")
            if record := kind.inside(entry):
                self._makers[ident] = maker_of(record, users, self._tables)
                continue
            try:
                self._fds[ident] = kind.rebuild(entry, restorer)
            except OSError as error:
                blocker = kind.plan(entry, restorer) or Blocker(name_of(entry, users), os.strerror(error.errno or errno.EIO))
                raise RefusedError("cannot restore", blockers=(blocker,)) from error
            except (OverflowError, ValueError, struct.error) as error:
                raise ImageError("damaged image", name_of(entry, users), str(error)) from error
            restorer.opened(entry)
        self._try_epolls()

    def _try_epolls(self) -> None:
        """Make every epoll here, let it watch what it will, and throw it away: the kernel knows what can be waited for, and how deep."""
        with ExitStack() as trial:
            made = {ident: trial.enter_context(select.epoll()) for ident in self._makers}
            fds = self._fds | {ident: epoll.fileno() for ident, epoll in made.items()}
            for ident, (pid, _) in self._makers.items():
                self._try_watches(ident, made[ident], fds, {entry.fd: entry.id for entry in self._tables[pid]})

    def _try_watches(self, ident: int, epoll: select.epoll, fds: Mapping[int, int], numbers: Mapping[int, int]) -> None:
        with ExitStack() as copies:
            for watch in self._files[ident].epfd.tfd:
                try:
                    # A number of its own: two numbers of a program may be one description here, and an epoll takes each number once.
                    copy = os.dup(fds[numbers[watch.tfd]])
                    copies.callback(os.close, copy)
                    epoll.register(copy, watch.events)
                except OSError as error:
                    name = name_of(self._files[ident], self._users[ident])
                    why = f"it cannot watch descriptor {watch.tfd}: {os.strerror(error.errno or 0)}"
                    raise RefusedError("cannot restore", blockers=(Blocker(name, why),)) from error

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

    def share(self, pid: int, calls: CallList) -> None:
        """Append the calls by which *pid* gets epolls that another task of the tree has made, and by which its own watch.

        Run them in every task after `install` has run in all.
        """
        mine = {entry.fd for entry in self._tables.get(pid, ()) if self._is_mine(pid, entry)}
        table = FreeNumbers(mine)
        rest = [entry for entry in self._tables.get(pid, ()) if entry.fd not in mine]
        for maker in dict.fromkeys(self._makers[entry.id][0] for entry in rest):
            theirs = [entry for entry in rest if self._makers[entry.id][0] == maker]
            numbers = {entry.id: self._makers[entry.id][1] for entry in theirs}
            take_calls(calls, theirs, self._wanted(pid), table, maker, numbers)
        # Last, because an epoll may watch one that another task has made.
        for entry in self._tables.get(pid, ()):
            if self._makers.get(entry.id) == (pid, entry.fd):
                watch_calls(calls, entry.fd, self._files[entry.id].epfd)

    def finish(self, pid: int, calls: CallList) -> None:
        """Append the calls that say who gets SIGIO: after all processes and threads exist, and the task has its credentials."""
        for entry in self._tables.get(pid, ()):
            if self._users[entry.id][0] != (pid, entry.fd):
                continue
            file = self._files[entry.id]
            kind = kind_of_entry(file)
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

    def set_terminal(self, groups: Iterable[int]) -> bool:
        """Set our terminal as the tree had set its own; see `tty.set_terminal`. Before `close_all`, or it does nothing."""
        return self._terminal >= 0 and set_terminal(self._terminals.values(), set(groups), self._terminal)

    def _is_mine(self, pid: int, entry: fdinfo_entry) -> bool:
        maker = self._makers.get(entry.id)
        return maker is None or maker[0] == pid


def open_descriptions(layer: LayerFiles, options: OpenOptions | None = None) -> Descriptions:
    """Open every description of a layer once, in this process, close-on-exec. Nothing is left open if one cannot be.

    Raises:
        RefusedError: a description cannot be opened here; it is named.
        ImageError: the images contradict themselves.
    """
    descriptions = Descriptions(layer, read_tables(layer))
    restorer = Restorer(layer, options or OpenOptions())
    try:
        descriptions._open(restorer)
    except BaseException:
        descriptions.close_all()
        raise
    finally:
        restorer.close()
    return descriptions
