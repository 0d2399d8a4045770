"""Which calls bring a task its descriptors, with every number predicted.

A task takes a description by `pidfd_getfd` on the process that has it open, and moves it to its number. A new descriptor always gets the
lowest free number; in ascending order that is never above the wanted one, so nothing can be in the way. The pidfd itself is parked on a
number that the task does not use.
"""

import os
import select
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import eventpoll_file_entry, eventpoll_tfd_entry, fdinfo_entry

_F_SETFD, _EPOLL_CTL_ADD = 2, 1
READY: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP
_HOW: Final = select.EPOLLONESHOT | 0x80000000 | 1 << 29  # EPOLLET, EPOLLWAKEUP
_EPOLL_EVENT: Final = struct.Struct("<IQ" if os.uname().machine == "x86_64" else "<IxxxxQ")


class FreeNumbers:
    """The numbers a task has in use while its descriptors are installed: predicts what the kernel will hand out."""

    def __init__(self, occupied: Iterable[int]) -> None:
        self.used = set(occupied)
        self._lowest = 0

    def take_lowest(self) -> int:
        """The number a new descriptor gets."""
        while self._lowest in self.used:
            self._lowest += 1
        self.used.add(self._lowest)
        return self._lowest

    def free(self, fd: int) -> None:
        """*fd* was closed."""
        self.used.discard(fd)
        self._lowest = min(self._lowest, fd)


def take_calls(
    calls: CallList,
    entries: Iterable[fdinfo_entry],
    wanted: Collection[int],
    table: FreeNumbers,
    holder: int,
    numbers: Mapping[int, int],
) -> None:
    """Append the calls for *entries* (ascending) of one task.

    wanted: all numbers the task will have in the end. holder: the process that has the descriptions open, 0 if none is taken. numbers: file
    id → number there; an entry whose file is not among them is an epoll, which is made.
    """
    parked = -1
    if holder:
        first = table.take_lowest()
        taken = set(wanted) | (table.used - {first})
        parked = next(n for n in range(len(taken) + 1) if n not in taken)
        calls.add("pidfd_open", holder, 0, expect=first, about="reach the descriptions")
        if parked != first:
            calls.add("dup3", first, parked, os.O_CLOEXEC, expect=parked, about="reach the descriptions")
            calls.add("close", first, expect=0, about="reach the descriptions")
            table.free(first)
            table.used.add(parked)
    placed: dict[int, int] = {}
    for entry in entries:
        about = f"put fd {entry.fd} in its place"
        cloexec = os.O_CLOEXEC if entry.flags & 1 else 0
        if entry.id in placed:
            calls.add("dup3", placed[entry.id], entry.fd, cloexec, expect=entry.fd, about=about)
            table.used.add(entry.fd)
            continue
        got = table.take_lowest()
        if entry.id in numbers:
            calls.add("pidfd_getfd", parked, numbers[entry.id], 0, expect=got, about=about)
        else:
            calls.add("epoll_create1", os.O_CLOEXEC, expect=got, about=about)
        if got != entry.fd:
            calls.add("dup3", got, entry.fd, cloexec, expect=entry.fd, about=about)
            calls.add("close", got, expect=0, about=about)
            table.free(got)
            table.used.add(entry.fd)
        elif not cloexec:
            calls.add("fcntl", got, _F_SETFD, 0, expect=0, about=about)
        placed[entry.id] = entry.fd
    if holder:
        calls.add("close", parked, expect=0, about="let go of the descriptions")
        table.free(parked)


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
