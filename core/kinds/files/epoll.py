"""epoll(7): a set of watched descriptors. It watches them under their numbers, so it is made inside the task, after all of them.

A registration outlives its number if another number keeps the file open; such a one could not be changed or removed again by the program
after a restore, nor could it be made, so it is refused.
"""

import errno
import fcntl
import os
import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lamina.core.errors import Blocker, NativeError
from lamina.core.ffi import C, check, new_error
from lamina.core.image.schema import eventpoll_file_entry, eventpoll_tfd_entry, fd_types, file_entry
from lamina.core.objects.fdkind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.numbers import READY, has_fired
from lamina.core.objects.rawfd import Holders, RawFd, grabbed, read_table

_PARAMS: Final = 8  # struct epoll_params
_EPIOCGPARAMS: Final = 0x8008_8A02


@dataclass(frozen=True)
class Watch:
    """One line "tfd:" of an epoll's fdinfo."""

    fd: int
    events: int
    data: int
    pos: int
    inode: int
    dev: int


def watches_of(raw: RawFd) -> list[Watch]:
    """What an epoll watches, as fdinfo lists it: `tfd: N events: HEX data: HEX pos:N ino:HEX sdev:HEX`."""
    found = []
    for key, text in raw.lines:
        if key != "tfd":
            continue
        words = text.replace(":", ": ").split()
        named = dict(zip(words[1::2], words[2::2], strict=True))
        found.append(
            Watch(
                int(words[0]), int(named["events:"], 16), int(named["data:"], 16), int(named.get("pos:", "0")),
                int(named.get("ino:", "0"), 16), int(named.get("sdev:", "0"), 16),
            )
        )  # fmt: skip
    return found


def _stale(raw: RawFd, watches: Sequence[Watch]) -> Watch | None:
    """A registration whose number does not name the watched file in the table that holds this descriptor."""
    err = new_error()
    seen: set[int] = set()
    for watch in watches:
        # A second one of the same number watches a file that this number named before.
        if watch.fd in seen or check(C.lm_kcmp_epoll(raw.pid, watch.fd, raw.fd, watch.fd, 0, err), err):
            return watch
        seen.add(watch.fd)
    return None


def unreachable_watch(holders: Holders) -> Watch | None:
    """A registration that the first table with all the numbers does not reach; None if that table can make this epoll.

    It is the first because restore, which sees only numbers, takes the first: see `maker_of` in opening.py.

    Raises:
        NativeError: the kernel cannot compare.
    """
    watches = watches_of(holders[0])
    found: Watch | None = None
    for raw in holders:
        found = _stale(raw, watches)
        if found is None or all(_is_open(raw.pid, watch.fd) for watch in watches):
            return found
    return found


def _is_open(pid: int, fd: int) -> bool:
    return os.path.lexists(f"/proc/{pid}/fd/{fd}")


def _never_quiet(holders: Holders, watches: Sequence[Watch]) -> Watch | None:
    """A one-shot watch that has fired, of a file that is ready for nothing now: it could not be made quiet again (see `watch_calls`)."""
    fired = [watch for watch in watches if has_fired(watch.events)]
    if not fired:
        return None
    pid = next((raw.pid for raw in holders if all(_is_open(raw.pid, watch.fd) for watch in watches)), holders[0].pid)
    pidfd = os.pidfd_open(pid)
    try:
        return next((watch for watch in fired if not _is_ready(pidfd, watch.fd)), None)
    finally:
        os.close(pidfd)


def _is_ready(pidfd: int, fd: int) -> bool:
    with grabbed(pidfd, fd) as copy:
        poll = select.poll()
        poll.register(copy, READY)
        return bool(poll.poll(0))


def _busy_polls(raw: RawFd) -> bool:
    """Whether EPIOCSPARAMS (Linux 6.9) has set anything."""
    pidfd = os.pidfd_open(raw.pid)
    try:
        with grabbed(pidfd, raw.fd) as copy:
            return any(fcntl.ioctl(copy, _EPIOCGPARAMS, bytes(_PARAMS)))
    except OSError:
        return False
    finally:
        os.close(pidfd)


@dataclass(frozen=True)
class Trouble:
    """Why a registration cannot be made again, and what to do."""

    why: str
    fix: str = ""


def trouble(holders: Holders) -> Trouble | None:
    """The first registration that could not be made again.

    Raises:
        NativeError: the kernel cannot compare. OSError: the process is gone.
    """
    if watch := unreachable_watch(holders):
        return Trouble(f"it still watches a file whose descriptor {watch.fd} was closed while another number kept the file open")
    if _busy_polls(holders[0]):
        return Trouble("it polls its devices itself (EPIOCSPARAMS), which images cannot hold")
    if watch := _never_quiet(holders, watches_of(holders[0])):
        why = f"its one-shot watch of descriptor {watch.fd} has fired, and could not be made quiet again while that is ready for nothing"
        return Trouble(why, "try again in a moment")
    return None


class Epoll(DescriptorKind):
    """An epoll instance."""

    name = "epoll"
    type = fd_types.EVENTPOLL
    field = "epfd"

    def recognise(self, raw: RawFd) -> bool:
        """By its link."""
        return raw.link == "anon_inode:[eventpoll]"

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """A registration that cannot be made again; looked at twice, because a running program closes descriptors meanwhile."""
        try:
            if trouble(holders) is None:
                return None
            again = [raw for old in holders for raw in read_table(old.pid) if (raw.fd, raw.link) == (old.fd, old.link)]
            return _refusal(again[0], trouble(again)) if again else None
        except (NativeError, OSError) as error:
            if (error.errnum if isinstance(error, NativeError) else error.errno) == errno.EBADF:
                return None  # closed while we looked: the freeze looks again
            raise

    def capture(self, holders: Holders, pidfd: int) -> Trouble | None:
        """The same, for the moment of the freeze: the numbers can be compared only while nothing moves."""
        return trouble(holders)

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """What `capture` found."""
        return _refusal(file.raw, file.extra)

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """Its registrations."""
        raw = file.raw
        record = eventpoll_file_entry(id=ident, flags=raw.flags, fown=raw.owner.entry())
        for watch in watches_of(raw):
            record.tfd.append(
                eventpoll_tfd_entry(
                    id=ident, tfd=watch.fd, events=watch.events, data=watch.data,
                    dev=watch.dev & 0xFFFFFFFF, inode=watch.inode, pos=watch.pos,
                )
            )  # fmt: skip
        return file_entry(type=fd_types.EVENTPOLL, id=ident, epfd=record)

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Nothing outside the task can stand in the way."""
        return None

    def rebuild(self, entry: file_entry, opening: Opening) -> int:
        """Never called: see `inside`."""
        raise NotImplementedError("an epoll is made inside its task")

    def inside(self, entry: file_entry) -> eventpoll_file_entry | None:
        """The record itself."""
        return entry.epfd


def _refusal(raw: RawFd, found: Trouble | None) -> Blocker | None:
    return raw.blocker(found.why, found.fix) if found else None
