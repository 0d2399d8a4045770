"""Which calls bring a task its descriptors, with every number predicted.

A task takes a description by `pidfd_getfd` on the process that has it open, and moves it to its number. A new descriptor always gets the
lowest free number; in ascending order that is never above the wanted one, so nothing can be in the way. The pidfd itself is parked on a
number that the task does not use.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import fdinfo_entry

_F_SETFD: Final = 2


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
    make: Callable[[int, CallList, int, str], None],
) -> None:
    """Append the calls for *entries* (ascending) of one task.

    wanted: all numbers the task will have in the end. holder: the process that has the descriptions open, 0 if none is taken. numbers: file
    id → number there; an entry whose file is not among them is made here: *make*(file id, calls, number it gets, what for).
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
            make(entry.id, calls, got, about)
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
