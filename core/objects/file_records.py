"""What `fdinfo_entry` and `file_entry` can say at all; what a record of a kind can say, its kind knows (`DescriptorKind.damage`)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from lamina.core.image.records.limits import FD_LIMIT, INT_MAX, PATH_MAX, SIGNALS
from lamina.core.image.schema import fd_types, fdinfo_entry, file_entry
from lamina.core.image.supplement import Values, fits
from lamina.core.objects.kind import IN_FLIGHT, KindTable

FIELDS: Final[Mapping[int, str]] = {
    fd_types.REG: "reg", fd_types.PIPE: "pipe", fd_types.FIFO: "fifo", fd_types.INETSK: "isk", fd_types.UNIXSK: "usk",
    fd_types.EVENTFD: "efd", fd_types.EVENTPOLL: "epfd", fd_types.INOTIFY: "ify", fd_types.SIGNALFD: "sgfd",
    fd_types.PACKETSK: "psk", fd_types.TTY: "tty", fd_types.FANOTIFY: "ffy", fd_types.NETLINKSK: "nlsk", fd_types.NS: "nsf",
    fd_types.TUNF: "tunf", fd_types.EXT: "ext", fd_types.TIMERFD: "tfd", fd_types.MEMFD: "memfd", fd_types.BPFMAP: "bpf",
    fd_types.PIDFD: "pidfd",
}  # fmt: skip
"""Type → the field of `file_entry` that holds its record."""
_FOWN_TYPES: Final = (0, 1, 2)  # thread, process, group (F_SETOWN_EX)


def type_name(entry: file_entry) -> str:
    """ "PIPE", or the number if there is no such type."""
    return fd_types.Name(entry.type) if entry.type in fd_types.values() else str(entry.type)


def file_damage(entry: file_entry, kinds: KindTable) -> Iterator[str]:
    """What is wrong with one description. Of those that no kind knows only whether they are there."""
    field = FIELDS.get(entry.type)
    if field is None or not entry.HasField(field):
        yield f"its entry {entry.id} has no record of its type {type_name(entry)}"
        return
    record: Any = getattr(entry, field)
    kind = kinds.of_entry(entry)
    if kind is None:
        return
    name = f"its {field} {entry.id}"
    yield from (f"{name} {why}" for why in kind.damage(record))
    if not hasattr(record, "fown"):
        return
    if record.fown.signum > SIGNALS:
        yield f"{name} sends signal {record.fown.signum}, which there is not"
    if record.fown.pid_type not in _FOWN_TYPES:
        yield f"{name} sends signals to an owner of type {record.fown.pid_type}"
    elif record.fown.pid > INT_MAX:
        yield f"{name} sends signals to {record.fown.pid}, which is no process"


def kept_damage(kept: Mapping[int, Values], files: Mapping[int, file_entry], kinds: KindTable) -> Iterator[str]:
    """What the supplement says of descriptions that are not there, or cannot be. *kept*: `Supplement.files`."""
    for ident, values in kept.items():
        entry = files.get(ident)
        if entry is None:
            yield f"its supplement is about file {ident}, which the layer does not have"
            continue
        kind = kinds.of_entry(entry)
        for name, value in values.items():
            rule = kind.kept.get(name) if kind else None
            if rule is None:
                yield f"its supplement keeps {name!r:.60} of file {ident}, which this lamina does not know"
            elif not fits(rule, value):
                yield f"its supplement has {name} {value!r:.60} of file {ident}, which it cannot be"


def path_damage(name: bytes) -> str:
    """Why *name* is no path, or ""."""
    if not name or b"\0" in name:
        return "has a path that is none"
    return f"has a path of {len(name)} bytes" if len(name) >= PATH_MAX else ""


def table_damage(entries: Sequence[fdinfo_entry]) -> Iterator[str]:
    """What is wrong with the descriptors of one task."""
    seen: set[int] = set()
    for entry in entries:
        if entry.fd in seen:
            yield f"a descriptor occurs twice: {entry.fd}"
        seen.add(entry.fd)
        if entry.fd >= FD_LIMIT:
            yield f"{entry.fd} is no descriptor"
        if entry.flags > 1:
            yield f"descriptor {entry.fd} has the flags {entry.flags:#x}"


def unsupported(entry: file_entry, ids: Collection[int], kinds: KindTable, in_flight: bool = False) -> Iterator[str]:
    """What is whole and cannot be put back. *ids*: of the processes and threads of the tree; *in_flight*: no task has a number for it."""
    kind = kinds.of_entry(entry)
    if kind is None:
        yield f"is of type {type_name(entry)}, which lamina cannot rebuild yet"
        return
    record: Any = getattr(entry, kind.field)
    yield from kind.unsupported(record)
    if in_flight and kind.made_in_task:
        yield f"cannot be made: {IN_FLIGHT}"
    if hasattr(record, "fown") and record.fown.pid and record.fown.pid not in ids:
        yield f"sends its signals to {record.fown.pid}, which is not in the tree"
