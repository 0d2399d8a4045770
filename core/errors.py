"""Errors are part of the interface: what failed, which object, why, and what to do about it, in fields.

`str(error)` is the one line that the command line prints and the TUI shows. Nothing outside this module builds such a line.
"""

from dataclasses import dataclass, field

EXIT_FAILED = 1
EXIT_USAGE = 2


LONGEST_LINE = 2000
"""Characters of a line: what images hold may be of any length, and nobody reads a megabyte. A path has at most 4,095 bytes."""


def shortened(text: str, most: int) -> str:
    """*text*, without its middle if it has more than *most* characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[len(text) - most // 3 + 5 :]}"


def in_one_line(text: str, most: int = LONGEST_LINE) -> str:
    """*text* on one line of at most *most* characters, with nothing in it that moves a cursor: names of files and links in layers come from
    anybody.
    """
    line = shortened(" ".join(shortened(text, 8 * most).split()), most)
    return line if line.isprintable() else "".join(it if it.isprintable() else ascii(it)[1:-1] for it in line)


def printable(text: str) -> str:
    """*text* as it is, or escaped if it would do something to a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


@dataclass(eq=False)
class LaminaError(Exception):
    """Base of everything lamina raises on purpose.

    Attributes:
        what: the act that failed or was refused, as in "cannot dump".
        obj: the object it is about, as in "process 4711 (redis-server)" or a path.
        why: the reason, in words.
        fix: what the user can do next; may be empty.
    """

    what: str
    obj: str = ""
    why: str = ""
    fix: str = ""

    exit_code = EXIT_FAILED

    def __str__(self) -> str:
        line = " ".join(part for part in (self.what, self.obj) if part)
        if self.why:
            line += f": {self.why}"
        if self.fix:
            line += f" ({self.fix})"
        return in_one_line(line)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.what, self.obj, self.why, self.fix))


class UsageError(LaminaError):
    """The command itself is wrong; nothing was looked at."""

    exit_code = EXIT_USAGE


class TargetError(LaminaError):
    """The process cannot be what was asked for: gone, protected, traced by another, of another identity."""


class ImageError(LaminaError):
    """A layer or one of its files is missing, damaged, or not what it claims to be."""


class BusyError(LaminaError):
    """Another lamina holds the target or the stack; `why` names the holder."""


class TransferError(LaminaError):
    """The other side of a connection is not there, went away, fell silent, refused, or said what may not be said."""


class Unanswered(TransferError):
    """It is not known whether the other side did what it was asked."""


class Cancelled(LaminaError):
    """The user cancelled; everything is as before."""


@dataclass(frozen=True)
class Blocker:
    """One thing that stands in the way of a dump or a restore.

    Attributes:
        obj: the object, as in "fd 7" or "area 7f12…-7f13…".
        why: why it cannot be dumped or rebuilt.
        fix: an option or act that removes it; may be empty.
        pid: the process it was found in; 0 if none.
    """

    obj: str
    why: str
    fix: str = ""
    pid: int = 0

    def __str__(self) -> str:
        place = f"process {self.pid}, {self.obj}" if self.pid else self.obj
        return f"{place}: {self.why}" + (f" ({self.fix})" if self.fix else "")


def _joined(blockers: tuple[Blocker, ...]) -> str:
    """As many as fit on a line, and how many more there are."""
    told: list[str] = []
    room = LONGEST_LINE - 200
    for blocker in blockers:
        text = in_one_line(str(blocker), 600)
        if told and len(text) > room:
            return f"{'; '.join(told)}; and {len(blockers) - len(told)} more"
        told.append(text)
        room -= len(text) + 2
    return "; ".join(told)


@dataclass(eq=False)
class RefusedError(LaminaError):
    """Refused before anything was touched; every blocker is listed."""

    blockers: tuple[Blocker, ...] = field(default=())

    def __str__(self) -> str:
        head = " ".join(part for part in (self.what, self.obj) if part)
        return in_one_line(f"{head}: {self.why or _joined(self.blockers)}")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.what, self.obj, self.why, self.fix, self.blockers))


@dataclass(eq=False)
class NativeError(LaminaError):
    """A C function failed. Callers that know the object better raise their own error from it."""

    what: str = ""
    where: str = ""
    errnum: int = 0
    object_id: int = 0
    detail: str = ""
    reason: str = ""

    def __str__(self) -> str:
        parts = [self.where, f"[{self.object_id}]" if self.object_id else "", self.detail, self.reason]
        return " ".join(part for part in parts if part)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), ("", "", "", "", "", self.where, self.errnum, self.object_id, self.detail, self.reason))
