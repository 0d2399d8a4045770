"""epoll(7): a set of watched descriptors. It watches them under their numbers, so it is made inside the task, after all of them.

A registration outlives its number if another number keeps the file open; such a one could not be changed or removed again by the program
after a restore, nor could it be made, so it is refused.
"""

import errno
import fcntl
import os
import select
import stat
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, NativeError, RefusedError
from lamina.core.ffi import C, check, new_error
from lamina.core.image.schema import eventpoll_file_entry, eventpoll_tfd_entry, fd_types, fdinfo_entry, file_entry
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.rawfd import Holders, RawFd, grabbed, read_table

_PARAMS: Final = 8  # struct epoll_params
_EPIOCGPARAMS: Final = 0x8008_8A02
_EPOLL_CTL_ADD: Final = 1
_EXCLUSIVE: Final = 1 << 28
# fs/eventpoll.c, EPOLLEXCLUSIVE_OK_BITS: in, out, error, hang-up, wake-up, edge, exclusive.
_EXCLUSIVE_WITH: Final = 0x1 | 0x4 | 0x8 | 0x10 | 1 << 29 | 1 << 31 | _EXCLUSIVE
_EPOLL_DEPTH: Final = 5  # EP_MAX_NESTS, and the innermost
READY: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP
_HOW: Final = select.EPOLLONESHOT | 0x80000000 | 1 << 29  # EPOLLET, EPOLLWAKEUP
_EPOLL_EVENT: Final = struct.Struct("<IQ" if os.uname().machine == "x86_64" else "<IxxxxQ")


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

    It is the first because restore, which sees only numbers, takes the first: see `objects.restorer.maker_of`.

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
    made_in_task = True

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

    def capture(self, holders: Holders, pidfd: int, around: None) -> Trouble | None:
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

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        seen: set[int] = set()
        for watch in record.tfd:
            if watch.tfd in seen:
                yield f"watches descriptor {watch.tfd} twice"
            seen.add(watch.tfd)
            if watch.events & _EXCLUSIVE and watch.events & ~_EXCLUSIVE_WITH:
                yield f"watches descriptor {watch.tfd} for the events {watch.events:#x}, which cannot be together"
        if record.flags & os.O_DIRECT:
            yield "has the flag O_DIRECT, which it cannot have"

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """See `watch_damage`."""
        return (("files.img", why) for why in watch_damage(layer.files, tables))

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Nothing outside the task can stand in the way."""
        return None

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Never called: it is made inside its task."""
        raise NotImplementedError("an epoll is made inside its task")

    def watches(self, entry: file_entry) -> Collection[int]:
        """What its registrations name."""
        return {watch.tfd for watch in entry.epfd.tfd}

    def rehearse(self, makers: Mapping[int, tuple[int, int]], opening: Opening) -> None:
        """Make every epoll here, let it watch what it will, and throw it away: the kernel knows what can be waited for, and how deep."""
        with ExitStack() as trial:
            made = {ident: trial.enter_context(select.epoll()) for ident in makers}
            for ident, (pid, _) in makers.items():
                _try_watches(opening.entry(ident), made[ident], opening.numbers(pid), made, opening)

    def make_in_task(self, entry: file_entry, calls: CallList, number: int, about: str) -> None:
        """epoll_create1(2)."""
        calls.add("epoll_create1", os.O_CLOEXEC, expect=number, about=about)

    def connect_in_task(self, entry: file_entry, calls: CallList, number: int) -> None:
        """See `watch_calls`."""
        watch_calls(calls, number, entry.epfd)


def _try_watches(
    entry: file_entry, epoll: select.epoll, numbers: Mapping[int, int], made: Mapping[int, select.epoll], opening: Opening
) -> None:
    with ExitStack() as copies:
        for watch in entry.epfd.tfd:
            try:
                ident = numbers[watch.tfd]
                # A number of its own: two numbers of a program may be one description here, and an epoll takes each number once.
                copy = os.dup(made[ident].fileno() if ident in made else opening.fd(ident))
                copies.callback(os.close, copy)
                epoll.register(copy, watch.events)
            except OSError as error:
                why = f"it cannot watch descriptor {watch.tfd}: {os.strerror(error.errno or 0)}"
                raise RefusedError("cannot restore", blockers=(Blocker(opening.name(entry.id), why),)) from error


def watch_calls(calls: CallList, fd: int, record: eventpoll_file_entry) -> None:
    """Append the calls by which epoll *fd* watches what its record says; all those descriptors are there.

    One-shot watches that have fired come first, each for anything that its file is ready for: it fires once more, which is taken away by
    one epoll_wait(2), and then it is as quiet as it was. There is no other way to make one (epoll_ctl(2) adds EPOLLERR and EPOLLHUP).
    """
    quiet = [watch for watch in record.tfd if has_fired(watch.events)]
    taken = calls.room(_EPOLL_EVENT.size) if quiet else 0
    for watch in quiet:
        _watch(calls, fd, watch, watch.events | READY)
        calls.add("epoll_wait", fd, taken, 1, 0, expect=1, about=f"quiet the watch of fd {watch.tfd} by fd {fd}, which has fired")
    for watch in record.tfd:
        if watch not in quiet:
            _watch(calls, fd, watch, watch.events)


def _watch(calls: CallList, fd: int, watch: eventpoll_tfd_entry, events: int) -> None:
    event = calls.data(_EPOLL_EVENT.pack(events, watch.data))
    calls.add("epoll_ctl", fd, _EPOLL_CTL_ADD, watch.tfd, event, expect=0, about=f"let fd {fd} watch fd {watch.tfd}")


def has_fired(events: int) -> bool:
    """Whether these are the events of a one-shot watch that has fired: nothing is left of them but how to watch."""
    return bool(events & select.EPOLLONESHOT) and not events & ~_HOW


def _refusal(raw: RawFd, found: Trouble | None) -> Blocker | None:
    return raw.blocker(found.why, found.fix) if found else None


def watch_damage(files: Mapping[int, file_entry], tables: Mapping[int, Sequence[fdinfo_entry]]) -> Iterator[str]:
    """Epolls that no task can make: one that watches a number that none of its holders has, what cannot be waited for, or itself.

    *tables*: pid → its descriptors, parents first.
    """
    numbers = {pid: {entry.fd: entry.id for entry in entries} for pid, entries in tables.items()}
    inside: dict[int, list[int]] = {}
    for pid, entries in tables.items():
        for holder in entries:
            file = files.get(holder.id)
            if file is None or holder.id in inside or not file.HasField("epfd"):
                continue
            if all(watch.tfd in numbers[pid] for watch in file.epfd.tfd):
                inside[holder.id] = [numbers[pid][watch.tfd] for watch in file.epfd.tfd]
    held = {entry.id for entries in tables.values() for entry in entries}
    for ident in held:
        if ident in files and files[ident].HasField("epfd") and ident not in inside:
            yield f"its epfd {ident} watches descriptors that no task has"
    for ident, watched in inside.items():
        for other in watched:
            if other in files and files[other].HasField("reg") and _is_plain(files[other].reg):
                yield f"its epfd {ident} watches a file or directory, which epoll cannot"
                break
    yield from _nested(inside)


def _is_plain(record: Any) -> bool:
    """A file or directory of a disk. Some files of /proc and /sys can be waited for."""
    kind = stat.S_IFMT(record.mode)
    return kind in (stat.S_IFREG, stat.S_IFDIR) and not record.name.lstrip(b"/").startswith((b"proc/", b"sys/", b"dev/"))


def _nested(inside: Mapping[int, Sequence[int]]) -> Iterator[str]:
    """Epolls in epolls: never in themselves, and not too deep. By taking away the innermost ones, again and again."""
    left = {ident: {other for other in watched if other in inside} for ident, watched in inside.items()}
    for _ in range(_EPOLL_DEPTH):
        innermost = {ident for ident, watched in left.items() if not watched & left.keys()}
        if not innermost:
            break
        left = {ident: watched for ident, watched in left.items() if ident not in innermost}
    for ident in left:
        yield f"its epfd {ident} watches itself, or one that watches one, too deep"
