"""Descriptors of one task on two sides: opened, closed, and changed: another file, offset, flags."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lamina.core.inspect.diff.tasks import FieldChange


class How(StrEnum):
    """What happened to a descriptor from side a to side b."""

    ADDED = "added"
    GONE = "gone"
    CHANGED = "changed"


@dataclass(frozen=True)
class Descriptor:
    """One number of a task's table and what it names.

    Attributes:
        fd: the number.
        kind: "file", "pipe", "socket", "terminal", "epoll", …
        what: the path, the addresses, or "" where nothing names it in both an image and /proc.
        offset: in a file, bytes; None for what has none.
        flags: open(2) flags without those that act once and without O_CLOEXEC.
        cloexec: FD_CLOEXEC.
        detail: its own state in words, as in "counter 3".
    """

    fd: int
    kind: str
    what: str = ""
    offset: int | None = None
    flags: int = 0
    cloexec: bool = False
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.what) if part)


@dataclass(frozen=True)
class DescriptorChange:
    """One number that is not the same on both sides.

    Attributes:
        pid: the task, on side b (on side a, if only that has it).
        fd, how: which, and what became of it.
        a, b: what it was and is; None on the side that has it not.
        fields: of a changed one, what differs.
    """

    pid: int
    fd: int
    how: How
    a: Descriptor | None
    b: Descriptor | None
    fields: tuple[FieldChange, ...] = ()


def diff_descriptors(pid: int, a: Sequence[Descriptor], b: Sequence[Descriptor]) -> tuple[DescriptorChange, ...]:
    """What differs between the tables of one task, by number."""
    mine, theirs = {it.fd: it for it in a}, {it.fd: it for it in b}
    found = []
    for fd in sorted({*mine, *theirs}):
        one, other = mine.get(fd), theirs.get(fd)
        if one is None or other is None:
            found.append(DescriptorChange(pid, fd, How.GONE if other is None else How.ADDED, one, other))
        elif fields := _fields(one, other):
            found.append(DescriptorChange(pid, fd, How.CHANGED, one, other, fields))
    return tuple(found)


def _fields(a: Descriptor, b: Descriptor) -> tuple[FieldChange, ...]:
    if (a.kind, a.what) != (b.kind, b.what):
        return (FieldChange("what", str(a), str(b)),)
    pairs = (
        ("offset", a.offset, b.offset),
        ("flags", f"{a.flags:#o}", f"{b.flags:#o}"),
        ("close-on-exec", a.cloexec, b.cloexec),
        ("state", a.detail, b.detail),
    )
    return tuple(FieldChange(name, str(one), str(other)) for name, one, other in pairs if one != other)
