"""Descriptors of a layer, brought back: each description opened once in the restorer, then taken by every task that had it.

That keeps what is shared by dup and fork shared, and a refusal costs nothing, because no process exists yet.
"""

import errno
import fcntl
import os
import resource
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.image.schema import fdinfo_entry, fown_entry
from lamina.core.objects.file_table import path_blockers
from lamina.core.objects.install import FreeNumbers, take_calls
from lamina.core.objects.kind import IN_FLIGHT, DescriptorKind, KindTable, OpenOptions, TaskHands
from lamina.core.objects.layer_files import LayerFiles, read_tables
from lamina.core.objects.rawfd import O_ASYNC, grab
from lamina.core.objects.restorer import Restorer, maker_of
from lamina.core.objects.rights import may_raise_limits

__all__ = ["Descriptions", "OpenOptions", "open_descriptions", "plan_descriptions"]

_F_SETSIG, _F_SETOWN_EX = 10, 15
# Descriptors lamina itself needs beside those it opens.
_OWN: Final = 64
_UNKNOWN: Final = "lamina cannot rebuild this kind of descriptor yet"


def plan_descriptions(layer: LayerFiles, kinds: KindTable, options: OpenOptions | None = None) -> list[Blocker]:
    """Everything that would keep `open_descriptions` from succeeding, and files that are mapped, executed or stood in that have changed.

    Touches nothing but for binding each listening address for a moment.

    Raises:
        ImageError: the images contradict themselves.
    """
    restorer = Restorer(layer, read_tables(layer), kinds, options or OpenOptions())
    blockers = path_blockers(layer.files, kinds)
    seen = {(blocker.obj, blocker.why) for blocker in blockers}
    try:
        for ident in restorer.wanted:
            blocker = _blocker(ident, restorer)
            if blocker and (blocker.obj, blocker.why) not in seen:
                seen.add((blocker.obj, blocker.why))
                blockers.append(blocker)
        needed, hard = _needed(restorer), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    finally:
        restorer.close()
    if 0 <= hard < needed and not _may_raise(needed):
        blockers.append(Blocker("descriptors", f"{needed} are needed, and {hard} allowed", f"raise the hard limit: ulimit -Hn {needed}"))
    return blockers


def _blocker(ident: int, restorer: Restorer) -> Blocker | None:
    entry, kind = restorer.files[ident], restorer.kind(ident)
    if kind is None:
        return Blocker(restorer.name(ident), _UNKNOWN)
    if kind.made_in_task:
        if ident not in restorer.users:
            return Blocker(restorer.name(ident), f"{IN_FLIGHT}: not supported yet")
        maker_of(ident, kind.watches(entry), restorer.users.get(ident, ()), restorer.tables)
    return kind.plan(entry, restorer)


def _needed(restorer: Restorer) -> int:
    """The limit on open files (RLIMIT_NOFILE) under which all of a layer can be opened here and in every task."""
    highest = max((entries[-1].fd for entries in restorer.tables.values() if entries), default=0)
    # One for each description; those of objects that are not whole yet; in the end, copies of what one description watches.
    behind = sum(kind.shared_fds for kind, _ in restorer.shared())
    watched = max((len(kind.watches(restorer.files[ident])) for ident in restorer.wanted if (kind := restorer.kind(ident))), default=0)
    # A task needs one number beside its own to reach us.
    held = len(os.listdir("/proc/self/fd"))
    return max(len(restorer.wanted) + max(behind, watched) + held + _OWN, highest + 2)


def _may_raise(limit: int) -> bool:
    """Whether we may raise our own hard limit to *limit*."""
    try:
        bounded = limit > int(Path("/proc/sys/fs/nr_open").read_text())
    except (OSError, ValueError):
        bounded = False
    return not bounded and may_raise_limits()


class Descriptions:
    """The opened descriptions of a layer. A context manager: `close_all` at the end."""

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._files = restorer.files
        self._tables = restorer.tables
        self._users = restorer.users
        self._makers: dict[int, tuple[int, int]] = {}
        self._limit: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close_all()

    def close_all(self) -> None:
        """Let go of the restorer's copies (pipes above all: until then no reader sees their end). Idempotent."""
        fds = self._restorer.fds
        while fds:
            os.close(fds.popitem()[1])
        self._restorer.close()
        if self._limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            self._limit = None

    # -- opening ---------------------------------------------------------------------------------------------------------------------

    def remake(self, processes: Mapping[int, Callable[[CallList], None]]) -> list[str]:
        """When the processes exist, their tables still empty: make anew what remembers its maker or names processes, and fill it.

        processes: how to make calls in each, by pid. Returns what is not as it was, as sentences.

        Raises:
            RefusedError: one cannot be, although the trial of it could.
            LaminaError: a call in a process failed.
        """
        restorer = self._restorer
        for kind, key in restorer.remade():
            author = kind.author(key, restorer)
            about = restorer.sharers(key)[0].id
            with ExitStack() as stack, self._about(about, kind):
                hands = stack.enter_context(_hands(author, processes[author])) if author in processes else None
                for ident, fd in kind.remake(key, hands, restorer).items():
                    os.dup2(fd, restorer.fds[ident], inheritable=False)
                    os.close(fd)
        for ident in restorer.wanted:
            owning = restorer.kind(ident)
            if owning and owning.remade:
                with self._about(ident, owning):
                    owning.fill(self._files[ident], restorer)
        return restorer.notices

    def _raise_limit(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = _needed(self._restorer)
        if soft != resource.RLIM_INFINITY and soft < needed:
            if 0 <= hard < needed and not _may_raise(needed):
                needed = hard
            self._limit = (soft, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard) if hard != resource.RLIM_INFINITY else hard))

    def _open(self) -> None:
        self._raise_limit()
        made: list[tuple[int, DescriptorKind]] = []
        inside: dict[DescriptorKind, dict[int, tuple[int, int]]] = {}
        for ident in self._restorer.wanted:
            entry, kind = self._files[ident], self._restorer.kind(ident)
            if kind is None:
                raise RefusedError("cannot restore", self._restorer.name(ident), _UNKNOWN)
            if kind.made_in_task:
                self._makers[ident] = maker_of(ident, kind.watches(entry), self._users.get(ident, ()), self._tables)
                inside.setdefault(kind, {})[ident] = self._makers[ident]
                continue
            with self._about(ident, kind):
                self._restorer.fds[ident] = kind.make(entry, self._restorer)
            self._restorer.opened(entry)
            made.append((ident, kind))
        for ident, kind in made:
            with self._about(ident, kind):
                kind.connect(self._files[ident], self._restorer)
        for kind, makers in inside.items():
            kind.rehearse(makers, self._restorer)

    @contextmanager
    def _about(self, ident: int, kind: DescriptorKind) -> Iterator[None]:
        """What goes wrong is said of this description."""
        try:
            yield
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
            blocker = kind.plan(self._files[ident], self._restorer) or Blocker(self._restorer.name(ident), why)
            raise RefusedError("cannot restore", blockers=(blocker,)) from error
        except (OverflowError, ValueError, struct.error) as error:
            raise ImageError("damaged image", self._restorer.name(ident), str(error)) from error

    # -- installing ------------------------------------------------------------------------------------------------------------------

    def install(self, pid: int, calls: CallList, holder: int = 0, occupied: Iterable[int] = ()) -> None:
        """Append the calls by which task *pid* gets its descriptors, except those that another task makes (see `share`).

        Run them in every task, in any order, before `share` and `finish`.

        holder: the process these descriptions are open in; 0: this one. occupied: numbers already in use in the task, all close-on-exec
        and none of them wanted.
        """
        entries = [entry for entry in self._tables.get(pid, ()) if self._is_mine(pid, entry)]
        holder = holder or os.getpid() if any(entry.id in self._restorer.fds for entry in entries) else 0
        take_calls(calls, entries, self._wanted(pid), FreeNumbers(occupied), holder, self._restorer.fds, self._make_in_task)

    def _make_in_task(self, ident: int, calls: CallList, number: int, about: str) -> None:
        kind = self._restorer.kind(ident)
        assert kind is not None  # `_open` refused it
        kind.make_in_task(self._files[ident], calls, number, about)

    def share(self, pid: int, calls: CallList) -> None:
        """Append the calls by which *pid* gets what another task of the tree has made, and by which what it has made itself is connected.

        Run them in every task after `install` has run in all.
        """
        mine = {entry.fd for entry in self._tables.get(pid, ()) if self._is_mine(pid, entry)}
        table = FreeNumbers(mine)
        rest = [entry for entry in self._tables.get(pid, ()) if entry.fd not in mine]
        for maker in dict.fromkeys(self._makers[entry.id][0] for entry in rest):
            theirs = [entry for entry in rest if self._makers[entry.id][0] == maker]
            numbers = {entry.id: self._makers[entry.id][1] for entry in theirs}
            take_calls(calls, theirs, self._wanted(pid), table, maker, numbers, self._make_in_task)
        # Last, because one may watch another that another task has made.
        for entry in self._tables.get(pid, ()):
            if self._makers.get(entry.id) == (pid, entry.fd) and (kind := self._restorer.kind(entry.id)):
                kind.connect_in_task(self._files[entry.id], calls, entry.fd)

    def finish(self, pid: int, calls: CallList) -> None:
        """Append the calls that say who gets SIGIO: after all processes and threads exist, and the task has its credentials."""
        for entry in self._tables.get(pid, ()):
            if self._users[entry.id][0] != (pid, entry.fd):
                continue
            file = self._files[entry.id]
            kind = self._restorer.kind(entry.id)
            if kind is None:
                continue
            for command, value in _signal_settings(*kind.owner_and_flags(file, self._restorer)):
                argument = calls.data(value) if isinstance(value, bytes) else value
                calls.add("fcntl", entry.fd, command, argument, expect=0, about=f"set who gets signals of fd {entry.fd}")

    def finish_held(self) -> None:
        """The same for descriptions that no task has a number for. After all processes and threads exist."""
        for ident in self._restorer.wanted:
            kind = self._restorer.kind(ident)
            if ident in self._users or kind is None:
                continue
            with self._about(ident, kind):
                for command, value in _signal_settings(*kind.owner_and_flags(self._files[ident], self._restorer)):
                    fcntl.fcntl(self._restorer.fd(ident), command, value)

    def _wanted(self, pid: int) -> set[int]:
        return {entry.fd for entry in self._tables.get(pid, ())}

    def before_run(self, groups: Iterable[int]) -> None:
        """What is to be done last, if the tree of *groups* gets our terminal. Before `close_all`."""
        members = set(groups)
        for kind in dict.fromkeys(self._restorer.kind(ident) for ident in self._restorer.wanted):
            if kind:
                kind.before_run(self._restorer, members)

    def _is_mine(self, pid: int, entry: fdinfo_entry) -> bool:
        maker = self._makers.get(entry.id)
        return maker is None or maker[0] == pid


def _signal_settings(owner: fown_entry, flags: int) -> Iterator[tuple[int, int | bytes]]:
    """The fcntl(2) calls that say who gets SIGIO of a description, in their order: command and argument, bytes if it is a struct."""
    if owner.signum:
        yield _F_SETSIG, owner.signum
    if owner.pid:
        yield _F_SETOWN_EX, struct.pack("<ii", owner.pid_type, owner.pid)
    if flags & O_ASYNC:
        yield fcntl.F_SETFL, flags


class _Hands(TaskHands):
    def __init__(self, pid: int, pidfd: int, run: Callable[[CallList], None]) -> None:
        self.pid, self._pidfd, self._run = pid, pidfd, run

    def run(self, calls: CallList) -> None:
        """See `TaskHands.run`."""
        self._run(calls)

    def fetch(self, fd: int) -> int:
        """See `TaskHands.fetch`."""
        return grab(self._pidfd, fd)


@contextmanager
def _hands(pid: int, run: Callable[[CallList], None]) -> Iterator[TaskHands]:
    pidfd = os.pidfd_open(pid)
    try:
        yield _Hands(pid, pidfd, run)
    finally:
        os.close(pidfd)


def open_descriptions(layer: LayerFiles, kinds: KindTable, options: OpenOptions | None = None) -> Descriptions:
    """Open every description of a layer once, in this process, close-on-exec. Nothing is left open if one cannot be.

    Raises:
        RefusedError: a description cannot be opened here; it is named.
        ImageError: the images contradict themselves.
    """
    descriptions = Descriptions(Restorer(layer, read_tables(layer), kinds, options or OpenOptions()))
    try:
        descriptions._open()
    except BaseException:
        descriptions.close_all()
        raise
    return descriptions
