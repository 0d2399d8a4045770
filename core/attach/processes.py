"""The process table, for `lamina ps` and the first screen: who runs, who is whose child, and who may not be touched.

A refresh reads one file per process (/proc/PID/stat, about 10 µs with parsing); name, user and command line are asked of psutil only for a
process that is new or has execed. So a table of 10,000 processes refreshes in about 0.1 s.
"""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from lamina.core.attach.identity import Identity, boot_id
from lamina.core.attach.procfs import PAGE, read_stat
from lamina.core.errors import TargetError

PF_KTHREAD = 0x00200000  # include/linux/sched.h


class Standing(Protocol):
    """On which layer a process stands: what `lamina.core.dirty.state.TargetState` has, read from the right of this room."""

    @property
    def identity(self) -> Identity:
        """Whose record it is."""
        ...

    @property
    def layer_dir(self) -> str | Path | None:
        """The layer that its dirty bits count from."""
        ...

    @property
    def tracker(self) -> str:
        """As in "uffd-wp async"."""
        ...

    @property
    def settled(self) -> bool:
        """False if a dump was cut short: the next one writes everything."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process at the moment of a refresh.

    Attributes:
        pid, ppid: process ids; ppid is 0 for a process without a parent in our namespace.
        start_time: clock ticks since boot.
        name: as psutil gives it (the kernel's 15 bytes, completed from the command line where that fits).
        state: one letter as in proc(5): "R", "S", "D", "T", "t", "Z", …
        rss: resident bytes, as /proc/PID/stat has it (the kernel may lag by some pages).
        threads: their number.
        user: login name, or the number if it has none.
        cmdline: argv; empty for kernel threads and zombies.
        protected: why lamina will not touch it, or "".
        tracker: the tracker armed on it, or "".
        layer_dir: the layer it stands on, or "".
        settled: False if its last dump was cut short, so that the next one writes everything.
    """

    pid: int
    ppid: int
    start_time: int
    name: str
    state: str
    rss: int
    threads: int
    user: str
    cmdline: tuple[str, ...]
    protected: str = ""
    tracker: str = ""
    layer_dir: str = ""
    settled: bool = True

    @property
    def identity(self) -> Identity:
        """For ever this process, even when its pid is reused."""
        return Identity(self.pid, self.start_time, boot_id())


class _Line(NamedTuple):
    """What a refresh reads of /proc/PID/stat; `rss` in bytes."""

    comm: str
    state: str
    ppid: int
    flags: int
    threads: int
    start_time: int
    rss: int
    start_code: int


@dataclass(frozen=True, slots=True)
class _Lasting:
    """What stays the same until a process execs, and by which a change is noticed."""

    start_time: int
    comm: str
    start_code: int
    name: str
    user: str
    uid: int
    cmdline: tuple[str, ...]


def ancestors_of(pid: int) -> tuple[int, ...]:
    """The parent of *pid*, its parent, and so on up to pid 1 or the edge of our namespace."""
    chain: list[int] = []
    while pid:
        try:
            pid = read_stat(pid).ppid
        except TargetError:
            break
        if pid:
            chain.append(pid)
    return tuple(chain)


def protected_reason(
    pid: int, state: str, flags: int, us: int, ancestors: Collection[int], uid: int | None = None
) -> str:
    """Why lamina will not touch a process, or "".

    Args:
        pid, state, flags: as in its /proc/PID/stat.
        us: our own pid.
        ancestors: `ancestors_of(us)`.
        uid: its owner, if the caller's rights are to be considered too.
    """
    rules = (
        (bool(flags & PF_KTHREAD), "a kernel thread"),
        (pid == 1, "pid 1: all others depend on it"),
        (pid == us, "lamina itself"),
        (pid in ancestors, "lamina runs below it"),
        (state in "ZX", "already ended, not yet reaped by its parent"),
        (uid is not None and os.geteuid() not in (0, uid), "belongs to another user: run lamina as root"),
    )
    return next((reason for holds, reason in rules if holds), "")


@lru_cache(maxsize=256)
def _login(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class ProcessTable:
    """A table that is refreshed again and again, and asks only about what is new. Used from one thread at a time."""

    def __init__(self, standing: Callable[[], Iterable[Standing]] = tuple) -> None:
        """*standing* tells on which layers processes stand: `lamina.core.dirty.state.all_states`."""
        self._standing = standing
        self._lasting: dict[int, _Lasting] = {}

    def refresh(self) -> tuple[ProcessInfo, ...]:
        """All processes now, by ascending pid. One that ends meanwhile is left out."""
        us = os.getpid()
        ancestors = frozenset(ancestors_of(us))
        boot = boot_id()
        states = {(s.identity.pid, s.identity.start_time): s for s in self._standing() if s.identity.boot == boot}
        rows: list[ProcessInfo] = []
        lasting: dict[int, _Lasting] = {}
        for pid in psutil.pids():
            try:
                line = _read_line(pid)
                kept = self._lasting.get(pid)
                if kept is None or (kept.start_time, kept.comm, kept.start_code) != (line.start_time, line.comm, line.start_code):
                    kept = _ask(pid, line)
            except (psutil.Error, OSError):
                continue
            lasting[pid] = kept
            row = ProcessInfo(
                pid, line.ppid, line.start_time, kept.name, line.state, line.rss, line.threads, kept.user, kept.cmdline,
                protected_reason(pid, line.state, line.flags, us, ancestors, kept.uid),
            )  # fmt: skip
            state = states.get((pid, line.start_time))
            if state is not None:
                row = replace(row, tracker=state.tracker, layer_dir=str(state.layer_dir or ""), settled=state.settled)
            rows.append(row)
        self._lasting = lasting
        return tuple(rows)


def _read_line(pid: int) -> _Line:
    # Not `read_stat`: the table needs a tenth of it, for thousands of processes, and the resident pages, which no image holds.
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        raw = os.read(fd, 4096)
    finally:
        os.close(fd)
    head, _, tail = raw.rpartition(b")")
    f = tail.split(None, 24)  # f[0] is field 3 of proc(5)
    comm = head[head.index(b"(") + 1 :].decode(errors="surrogateescape")
    return _Line(comm, f[0].decode(), int(f[1]), int(f[6]), int(f[17]), int(f[19]), int(f[21]) * PAGE, int(f[23]))


def _ask(pid: int, line: _Line) -> _Lasting:
    process = psutil.Process(pid)
    with process.oneshot():
        uid = process.uids().effective
        try:
            cmdline = tuple(process.cmdline())
        except (psutil.ZombieProcess, psutil.AccessDenied):
            cmdline = ()
        return _Lasting(line.start_time, line.comm, line.start_code, process.name(), _login(uid), uid, cmdline)
