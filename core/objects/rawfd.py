"""Descriptors as the kernel shows them from outside: one value per number in a task's table.

Reading them changes nothing in the process looked at.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from lamina.core.attach.procfs import describe
from lamina.core.errors import Blocker, NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import fown_entry

# Flags that act once, at open(2), or are the descriptor's: a file opened again must not be created or emptied.
ONCE: Final = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_NOCTTY | os.O_CLOEXEC
MQUEUE_MAGIC: Final = 0x19800202  # ipc/mqueue.c
O_ASYNC: Final = 0o20000
KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND = 0, 1, 2, 3, 4  # include/uapi/linux/kcmp.h


@dataclass(frozen=True)
class Owner:
    """Who gets SIGIO: F_GETOWN_EX, F_GETOWNER_UIDS, F_GETSIG (fcntl(2)). pid 0: nobody."""

    type: int = 0
    pid: int = 0
    uid: int = 0
    euid: int = 0
    signal: int = 0

    def entry(self) -> fown_entry:
        """As the images hold it."""
        return fown_entry(uid=self.uid, euid=self.euid, signum=self.signal, pid_type=self.type, pid=self.pid)


@dataclass(frozen=True)
class RawFd:
    """One descriptor as the kernel shows it.

    Attributes:
        pid, fd: whose, and its number.
        link: where /proc/PID/fd/FD points.
        mode, dev, ino, rdev, size, nlink: of the file behind it, as stat(2).
        file_system: its magic number (statfs(2)), asked of what may be a message queue only; else 0.
        info: raw /proc/PID/fdinfo/FD.
        owner: who gets SIGIO; unknown (nobody) unless read through a copy.
        pipe_size, pipe_bytes: F_GETPIPE_SZ and what waits in it, bytes; 0 unless read through a copy.
        carrier: the descriptor of the tree whose description holds this one; `pid` and `fd` are then of a copy of ours.
    """

    pid: int
    fd: int
    link: str
    mode: int
    dev: int
    ino: int
    rdev: int
    size: int
    nlink: int
    file_system: int
    info: bytes
    owner: Owner = field(default_factory=Owner)
    pipe_size: int = 0
    pipe_bytes: int = 0
    carrier: "RawFd | None" = None

    @cached_property
    def lines(self) -> list[tuple[str, str]]:
        """fdinfo as (key, text) pairs in order; keys such as "tfd" repeat."""
        parts = (line.partition(":") for line in self.info.decode(errors="replace").splitlines())
        return [(key, value.strip()) for key, _, value in parts]

    def line(self, key: str, default: str = "0") -> str:
        """The first value of *key* in fdinfo."""
        return next((value for name, value in self.lines if name == key), default)

    @cached_property
    def _all_flags(self) -> int:
        return int(self.line("flags"), 8)

    @property
    def flags(self) -> int:
        """The description's flags (F_GETFL, with O_LARGEFILE where the kernel shows it)."""
        return self._all_flags & ~os.O_CLOEXEC

    @property
    def cloexec(self) -> bool:
        """FD_CLOEXEC of this number."""
        return bool(self._all_flags & os.O_CLOEXEC)

    @property
    def is_message_queue(self) -> bool:
        """A POSIX message queue (mq_overview(7)), which passes for a file by its mode and its link."""
        return self.file_system == MQUEUE_MAGIC

    @property
    def pos(self) -> int:
        """File offset, bytes."""
        return int(self.line("pos"))

    def blocker(self, why: str, fix: str = "") -> Blocker:
        """A blocker about this descriptor, which names what it is."""
        return Blocker(self.words, why, fix, self.tree_pid)

    @property
    def words(self) -> str:
        """Which descriptor it is, without its process."""
        if self.carrier:
            return f"a descriptor in flight ({self.link}) in {self.carrier.words}"
        return f"fd {self.fd} ({self.link})"

    @property
    def tree_pid(self) -> int:
        """The process of the tree that has it, or through which it can be reached."""
        return self.carrier.tree_pid if self.carrier else self.pid


Holders = Sequence[RawFd]
"""All descriptors of one open file description in a tree, in tree order; never empty."""


def _owner(c: Any) -> Owner:
    return Owner(c.owner_type, c.owner_pid, c.owner_uid, c.owner_euid, c.owner_signal)


_rooms: dict[str, int] = {"fds": 256, "text": 64 << 10}


def read_table(pid: int, pidfd: int = -1) -> list[RawFd]:
    """All descriptors of *pid*, ascending, by one C call; with *pidfd* also what only a copy of each tells (needs ptrace permission).

    Raises:
        TargetError: it is gone, or its descriptors may not be seen.
    """
    err = new_error()
    while True:
        # Grown rooms are kept: inside a freeze there should be no second try.
        fds, text = ffi.new("lm_fd[]", _rooms["fds"]), ffi.new("char[]", _rooms["text"])
        count = C.lm_fd_table(pid, pidfd, fds, _rooms["fds"], text, _rooms["text"], err)
        if count >= 0 or err.errnum != 28:  # ENOSPC
            break
        _rooms.update(fds=_rooms["fds"] * 4, text=_rooms["text"] * 4)
    try:
        check(count, err)
    except NativeError as error:
        gone = error.errnum in (2, 3)
        why = "it has ended" if gone else error.reason
        raise TargetError("cannot read the descriptors of", describe(pid), why, "" if gone else "run lamina as root") from error
    raw = ffi.buffer(text)
    return [
        RawFd(
            pid, c.fd, os.fsdecode(raw[c.link_at : c.link_at + c.link_len]), c.mode, c.dev, c.ino, c.rdev, c.size, c.nlink, c.file_system,
            raw[c.info_at : c.info_at + c.info_len], _owner(c), c.pipe_size, c.pipe_bytes,
        )
        for c in fds[0:count]
    ]  # fmt: skip


def alike(things: Sequence[tuple[int, int]], kind: int) -> list[int]:
    """Which of *things* are the same by kcmp(2): for each the index of the first that is.

    things: (pid, descriptor) for `KCMP_FILE`, else (pid, 0).

    Raises:
        NativeError: not permitted, gone, or the kernel has no kcmp.
    """
    if len(things) < 2:
        return [0] * len(things)
    count, err = len(things), new_error()
    pids, fds = (ffi.new("int32_t[]", column) for column in zip(*things, strict=True))
    first, room = ffi.new("int32_t[]", count), ffi.new("int32_t[]", count)
    check(C.lm_kcmp_alike(pids, fds, count, kind, first, room, err), err)
    return list(first)


def is_shared(pid: int, other: int, kind: int) -> bool:
    """Whether two tasks have a thing in common. Raises as `alike`."""
    return alike([(pid, 0), (other, 0)], kind)[1] == 0


def sharing(pids: Sequence[int], kind: int) -> list[tuple[int, int]]:
    """Pairs of tasks that share a thing (`KCMP_FILES`, …): each with the first before it that has the same one.

    Raises:
        NativeError: as `alike`.
    """
    firsts = alike([(pid, 0) for pid in pids], kind)
    return [(pid, pids[first]) for at, (pid, first) in enumerate(zip(pids, firsts, strict=True)) if first != at]


def grab(pidfd: int, fd: int) -> int:
    """A close-on-exec copy of a descriptor of that process; the caller closes it.

    Raises:
        NativeError: closed meanwhile, or not permitted.
    """
    err = new_error()
    return check(C.lm_fd_fetch(pidfd, fd, err), err)


@contextmanager
def grabbed(pidfd: int, fd: int) -> Iterator[int]:
    """`grab`, closed at the end."""
    copy = grab(pidfd, fd)
    try:
        yield copy
    finally:
        os.close(copy)
