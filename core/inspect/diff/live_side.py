"""A running tree as one side of a comparison: everything from /proc. It is not stopped, so the values are not all of one moment."""

import os
import socket
import stat
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psutil
from typing_extensions import override

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe, is_running, read_maps, read_smaps, read_stat, threads_of, tree_of
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.untracked import UntrackedTracker
from lamina.core.errors import TargetError
from lamina.core.image.layer import Object
from lamina.core.inspect.areas import MemoryArea, area_of_maps
from lamina.core.inspect.diff.descriptors import Descriptor
from lamina.core.inspect.diff.layer_side import ACTING_ONCE, KIND_WORDS
from lamina.core.inspect.diff.pages import STEP_PAGES, SidePages
from lamina.core.inspect.diff.sides import Side
from lamina.core.inspect.diff.tasks import Task, Thread
from lamina.core.kinds.memory.vmas import Pages, pages_of
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.capture import UFFD_LINK
from lamina.core.objects.rawfd import RawFd, read_table

_STATES: Final = {"T": "stopped", "Z": "ended", "X": "ended"}
_ANON_INODES: Final = {"eventfd": "eventfd", "eventpoll": "epoll", "signalfd": "signalfd", "timerfd": "timerfd", "inotify": "inotify",
                       "fanotify": "fanotify", "pidfd": "pidfd", "bpf-map": "bpf map"}  # fmt: skip

T = TypeVar("T")


class LiveSide(Side):
    """A process and all below it."""

    def __init__(self, pid: int) -> None:
        """Raises TargetError: there is no such process."""
        self.pid = pid
        self.name = describe(pid)
        read_stat(pid)
        self.tasks = tuple(task for each in tree_of(pid) if (task := _task(each, pid)) is not None)
        self.notes = (f"{self.name} runs on while it is read: what is told of it is not of one moment, and registers are not compared",)

    def _ask(self, pid: int, how: Callable[[], T]) -> T | None:
        """What *how* tells of a task; None if it has ended. That of the root is an error, and so is what may not be read."""
        if any(task.pid == pid and task.state == "ended" for task in self.tasks):
            return None
        try:
            return how()
        except TargetError:
            if pid == self.pid or is_running(pid):
                raise
            return None

    @override
    def descriptors(self, pid: int) -> tuple[Descriptor, ...] | None:
        return self._ask(pid, lambda: live_descriptors(pid))

    @override
    def areas(self, pid: int) -> tuple[MemoryArea, ...] | None:
        return self._ask(pid, lambda: tuple(area_of_maps(area) for area in read_maps(pid)))

    @override
    def pages_of(self, which: Object) -> "PagesOfProcess | None":
        """Of shared objects nothing: no id of an image leads to them."""
        return None if isinstance(which, str) else self._ask(which, lambda: PagesOfProcess(which))


def _task(pid: int, root: int) -> Task | None:
    """One task; None if it ended meanwhile. The root's parent is not in the tree."""
    try:
        found = read_stat(pid)
        state = _STATES.get(found.state, "alive")
        tids = [] if state == "ended" else threads_of(pid)
        threads = tuple(Thread(tid, read_stat(pid, tid).comm) for tid in tids)
    except TargetError:
        if pid == root:
            raise
        return None
    return Task(
        pid, 0 if pid == root else found.ppid, found.pgrp, found.session, found.comm, state,
        exe=_link(pid, "exe"), cwd=_link(pid, "cwd"), root=_link(pid, "root"), threads=threads,
    )  # fmt: skip


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def live_descriptors(pid: int) -> tuple[Descriptor, ...]:
    """The descriptors of one process, ascending. That of lamina's own tracker is not one of the program's.

    Raises:
        TargetError: it has ended, or may not be read.
    """
    sockets = _sockets(pid)
    return tuple(_descriptor(raw, sockets) for raw in read_table(pid) if raw.link != UFFD_LINK)


def _sockets(pid: int) -> dict[int, str]:
    """What each descriptor that is a socket is, in the words of an image's."""
    try:
        found = psutil.Process(pid).net_connections("all")
    except (psutil.Error, OSError):
        return {}
    return {it.fd: _socket(it) for it in found}


def _socket(it: Any) -> str:
    if it.family == socket.AF_UNIX:
        return f"unix {it.laddr or 'without a name'}"
    protocol = "tcp" if it.type == socket.SOCK_STREAM else "udp"
    own = _address(it.laddr)
    if it.status == psutil.CONN_LISTEN:
        return f"{protocol} {own} listening"
    return f"{protocol} {own} - {_address(it.raddr)}" if it.raddr else f"{protocol} {own}"


def _address(address: Any) -> str:
    if not address:
        return "0.0.0.0:0"
    return f"[{address.ip}]:{address.port}" if ":" in address.ip else f"{address.ip}:{address.port}"


def _descriptor(raw: RawFd, sockets: dict[int, str]) -> Descriptor:
    known = DESCRIPTORS.of(raw)
    kind, what, offset, detail = (KIND_WORDS[known.type] if known else ""), "", None, ""
    if raw.link.startswith("anon_inode:"):
        name = raw.link.removeprefix("anon_inode:").strip("[]")
        kind = _ANON_INODES.get(name, kind or name)
        if kind == "eventfd":
            detail = f"counter {int(raw.line('eventfd-count'), 16)}"
        elif kind == "epoll":
            detail = f"watches {sum(1 for key, _ in raw.lines if key == 'tfd')}"
    elif stat.S_ISSOCK(raw.mode):
        kind, what = "socket", sockets.get(raw.fd, "")
    elif stat.S_ISFIFO(raw.mode):
        kind, what = ("fifo", raw.link) if raw.link.startswith("/") else ("pipe", "")
    elif raw.link.startswith("/memfd:"):
        kind = "memfd"
    else:
        kind, what = kind or "file", raw.link
        offset = raw.pos if kind == "file" else None
    return Descriptor(raw.fd, kind, what, offset, raw.flags & ~ACTING_ONCE, raw.cloexec, detail)


class PagesOfProcess(SidePages):
    """What a dump would write of a running process now: what is there, is not zero, and is no longer a file's own page."""

    def __init__(self, pid: int) -> None:
        """Raises TargetError: it has ended, or may not be read."""
        self._pid = pid
        areas = read_smaps(pid)
        tracker = UntrackedTracker(identify(pid), "")
        try:
            data = tracker.peek(areas).data
        finally:
            tracker.close()
        wanted = {kind: PageRuns.of((it.start, it.end) for it in areas if pages_of(it) is kind) for kind in Pages}
        self.runs = (data - wanted[Pages.NONE]) | wanted[Pages.WHOLE]
        self.lost = PageRuns.empty()
        self._buffer = WarmBuffer(min(self.runs.bytes, STEP_PAGES * PAGE))

    @override
    def read_into(self, runs: PageRuns, view: memoryview) -> PageRuns:
        lost = copy_runs(self._pid, runs, self._buffer)
        view[:] = self._buffer.view[: len(view)]
        return lost
