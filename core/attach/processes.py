"""The process table, for `lamina ps` and the first screen: who runs, who is whose child, and who may not be touched.

A refresh reads one file per process (/proc/PID/stat, about 6 µs, parsed only if it changed); name, user and command line are asked of
psutil only for a process that is new or has execed. So a table of 10,000 processes refreshes in about 0.1 s. Its first reading takes some
0.5 s more for psutil: who cannot wait that long takes the rows without, and lets the rest be asked little by little.
"""

import os
import time
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
        user: login name, or the number if it has none; "" until psutil was asked.
        cmdline: argv; empty for kernel threads and zombies, and until psutil was asked.
        protected: why lamina will not touch it, or "".
        tracker: the tracker armed on it, or "".
        layer_dir: the layer it stands on, or "".
        settled: False if its last dump was cut short, so that the next one writes everything.
        virtual: bytes of address space.
        cpu_ticks: processor time it has used, in clock ticks.
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
    virtual: int = 0
    cpu_ticks: int = 0

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
    virtual: int
    cpu_ticks: int

    @property
    def program(self) -> tuple[int, str, int]:
        """Another one after an exec."""
        return self.start_time, self.comm, self.start_code


class _Asked(NamedTuple):
    """What psutil says and what stays the same until a process execs."""

    name: str
    user: str
    uid: int
    cmdline: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    """A process as it was at the last refresh. An exec shows in *line*; *row* leaves out where it stands."""

    raw: bytes
    line: _Line
    asked: _Asked | None
    row: ProcessInfo


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


def protected_reason(pid: int, state: str, flags: int, us: int, ancestors: Collection[int], uid: int | None = None) -> str:
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
        self._known: dict[int, _Known] = {}
        self._us = os.getpid()
        self._ancestors: frozenset[int] = frozenset()

    @property
    def unasked(self) -> int:
        """How many rows lack what only psutil says."""
        return sum(known.asked is None for known in self._known.values())

    def refresh(self, ask: bool = True) -> tuple[ProcessInfo, ...]:
        """All processes now, by ascending pid. One that ends meanwhile is left out. Without *ask*, psutil is not asked about new ones."""
        self._us = os.getpid()
        ancestors = frozenset(ancestors_of(self._us))
        before = self._known if ancestors == self._ancestors else {}
        self._ancestors = ancestors
        self._known = {}
        for pid in psutil.pids():
            try:
                self._known[pid] = self._look(pid, before.get(pid))
            except OSError:
                continue
        if ask:
            self.ask_on()
        return self.rows()

    def ask_on(self, first: Collection[int] = (), seconds: float = float("inf")) -> None:
        """Ask psutil about rows that lack what it says, those of *first* before the others, for about *seconds*."""
        lacking = [pid for pid, known in self._known.items() if known.asked is None]
        if first:
            lacking.sort(key=lambda pid: pid not in first)
        until = time.monotonic() + seconds
        for pid in lacking:
            known = self._known[pid]
            try:
                known.asked = _ask(pid)
            except psutil.Error:
                del self._known[pid]
                continue
            known.row = self._row(pid, known.line, known.asked)
            if time.monotonic() > until:
                break

    def rows(self) -> tuple[ProcessInfo, ...]:
        """The processes as of the last refresh, with what is known of them by now."""
        boot = boot_id()
        states = {(s.identity.pid, s.identity.start_time): s for s in self._standing() if s.identity.boot == boot}
        rows = [known.row for known in self._known.values()]
        if states:
            rows = [_standing(row, states.get((row.pid, row.start_time))) for row in rows]
        return tuple(rows)

    def _look(self, pid: int, before: _Known | None) -> _Known:
        raw = _read(pid)
        if before is not None and before.raw == raw:
            return before
        line = _parse(raw)
        asked = before.asked if before is not None and before.line.program == line.program else None
        return _Known(raw, line, asked, self._row(pid, line, asked))

    def _row(self, pid: int, line: _Line, asked: _Asked | None) -> ProcessInfo:
        name, user, uid, cmdline = asked or (line.comm, "", None, ())
        return ProcessInfo(
            pid, line.ppid, line.start_time, name, line.state, line.rss, line.threads, user, cmdline,
            protected_reason(pid, line.state, line.flags, self._us, self._ancestors, uid), virtual=line.virtual, cpu_ticks=line.cpu_ticks,
        )  # fmt: skip


def _standing(row: ProcessInfo, state: Standing | None) -> ProcessInfo:
    if state is None:
        return row
    return replace(row, tracker=state.tracker, layer_dir=str(state.layer_dir or ""), settled=state.settled)


def _read(pid: int) -> bytes:
    # Not `read_stat`: the table needs a tenth of it, for thousands of processes, and the resident pages, which no image holds.
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _parse(raw: bytes) -> _Line:
    head, _, tail = raw.rpartition(b")")
    f = tail.split(None, 24)  # f[0] is field 3 of proc(5)
    comm = head[head.index(b"(") + 1 :].decode(errors="surrogateescape")
    return _Line(
        comm,
        f[0].decode(),
        int(f[1]),
        int(f[6]),
        int(f[17]),
        int(f[19]),
        int(f[21]) * PAGE,
        int(f[23]),
        int(f[20]),
        int(f[11]) + int(f[12]),
    )


def _ask(pid: int) -> _Asked:
    process = psutil.Process(pid)
    with process.oneshot():
        uid = process.uids().effective
        try:
            cmdline = tuple(process.cmdline())
        except (psutil.ZombieProcess, psutil.AccessDenied):
            cmdline = ()
        return _Asked(process.name(), _login(uid), uid, cmdline)
