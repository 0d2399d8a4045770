"""The threads and the descriptors of the running target, as /proc shows them. Called in worker threads; touches nothing."""

import os
import socket
from dataclasses import dataclass
from functools import cache

import psutil

from lamina.core.attach.procfs import fds_of, read_stat, threads_of
from lamina.core.errors import TargetError


@dataclass(frozen=True)
class ThreadRow:
    """One thread.

    Attributes:
        tid, name: who it is.
        state: as in stat, "S".
        call: the system call it is in, "running", or "" where this user may not know.
    """

    tid: int
    name: str
    state: str
    call: str


@dataclass(frozen=True)
class DescriptorRow:
    """One open descriptor: its number, a word for its kind, and what it leads to."""

    fd: int
    kind: str
    leads_to: str


@dataclass(frozen=True)
class TargetParts:
    """Threads, the leader first, and descriptors, ascending."""

    pid: int
    threads: tuple[ThreadRow, ...] = ()
    descriptors: tuple[DescriptorRow, ...] = ()


def read_parts(pid: int) -> TargetParts:
    """The threads and descriptors of *pid* now.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    return TargetParts(pid, tuple(_threads(pid)), tuple(read_descriptors(pid)))


def _threads(pid: int) -> list[ThreadRow]:
    rows = []
    for tid in threads_of(pid):
        try:
            stat = read_stat(pid, tid)
        except TargetError:
            continue  # it ended meanwhile
        rows.append(ThreadRow(tid, stat.comm, stat.state, _call(pid, tid)))
    return rows


@cache
def _call_names() -> dict[int, str]:
    from ptrace.syscall import SYSCALL_NAMES

    return dict(SYSCALL_NAMES)


def _call(pid: int, tid: int) -> str:
    """proc(5), /proc/PID/task/TID/syscall: a number, "running", or -1 when it is blocked outside of a call."""
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall") as file:  # noqa: PTH123  (a Path per thread is slow)
            word = file.readline().split()[0]
    except (OSError, IndexError):
        return ""
    if word == "running":
        return "running"
    number = int(word)
    return "stopped" if number < 0 else _call_names().get(number, f"call {number}")


def read_descriptors(pid: int) -> list[DescriptorRow]:
    """The descriptors of *pid* now, ascending.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    sockets = _sockets(pid)
    rows = []
    for fd in fds_of(pid):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue  # closed meanwhile
        rows.append(sockets.get(fd) or DescriptorRow(fd, *_kind(target)))
    return rows


def _kind(target: str) -> tuple[str, str]:
    kind, colon, rest = target.partition(":")
    if kind == "anon_inode":
        return rest.strip("[]"), ""
    if colon and kind in ("pipe", "socket"):
        return kind, rest.strip("[]")
    if target.startswith("/dev/pts/") or target.startswith("/dev/tty"):
        return "tty", target
    return ("memfd" if target.startswith("/memfd:") else "file"), target


def _sockets(pid: int) -> dict[int, DescriptorRow]:
    try:
        found = psutil.Process(pid).net_connections("all")
    except (psutil.Error, OSError):
        return {}
    rows = {}
    for one in found:
        if one.family == socket.AF_UNIX:
            rows[one.fd] = DescriptorRow(one.fd, "unix", str(one.laddr or one.raddr or "unnamed"))
            continue
        kind = "tcp" if one.type == socket.SOCK_STREAM else "udp"
        here = f"{one.laddr.ip}:{one.laddr.port}" if one.laddr else "unbound"
        state = "listening" if one.status == psutil.CONN_LISTEN else f"→ {one.raddr.ip}:{one.raddr.port}" if one.raddr else ""
        rows[one.fd] = DescriptorRow(one.fd, kind, f"{here} {state}".rstrip())
    return rows
