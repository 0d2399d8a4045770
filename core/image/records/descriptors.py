"""Descriptors (`fdinfo_entry`) and open file descriptions (`file_entry`) of the kinds that are rebuilt; others are looked at by nobody.

Everything here is about one layer's files together: a description is used by several tasks, and an epoll names descriptors by number.
"""

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from lamina.core.image.records.limits import FD_LIMIT, INT_MAX, LONG_MAX, PATH_MAX, SIGNALS
from lamina.core.image.schema import eventpoll_file_entry, fd_types, fdinfo_entry, file_entry, inet_sk_entry, pipe_data_entry, sk_opts_entry

FIELDS: Final[Mapping[int, str]] = {
    fd_types.REG: "reg", fd_types.PIPE: "pipe", fd_types.FIFO: "fifo", fd_types.INETSK: "isk", fd_types.UNIXSK: "usk",
    fd_types.EVENTFD: "efd", fd_types.EVENTPOLL: "epfd", fd_types.INOTIFY: "ify", fd_types.SIGNALFD: "sgfd",
    fd_types.PACKETSK: "psk", fd_types.TTY: "tty", fd_types.FANOTIFY: "ffy", fd_types.NETLINKSK: "nlsk", fd_types.NS: "nsf",
    fd_types.TUNF: "tunf", fd_types.EXT: "ext", fd_types.TIMERFD: "tfd", fd_types.MEMFD: "memfd", fd_types.BPFMAP: "bpf",
    fd_types.PIDFD: "pidfd",
}  # fmt: skip
"""Type → the field of `file_entry` that holds its record."""
REBUILT: Final = frozenset({fd_types.REG, fd_types.PIPE, fd_types.INETSK, fd_types.EVENTFD, fd_types.EVENTPOLL, fd_types.TTY})
"""Those that lamina rebuilds; the table of `lamina.core.kinds.table`, which a test holds this against."""
O_ACCMODE, O_DIRECT, O_TMPFILE = 3, 0o40000, 0o20000000
PIPE_BYTES: Final = 65536  # of one whose size is not recorded
PIPE_LIMIT: Final = 1 << 31
_FOWN_TYPES: Final = (0, 1, 2)  # thread, process, group (F_SETOWN_EX)
EPOLLEXCLUSIVE: Final = 1 << 28
# fs/eventpoll.c, EPOLLEXCLUSIVE_OK_BITS: in, out, error, hang-up, wake-up, edge, exclusive.
_EXCLUSIVE_WITH: Final = 0x1 | 0x4 | 0x8 | 0x10 | 1 << 29 | 1 << 31 | EPOLLEXCLUSIVE
_EPOLL_DEPTH: Final = 5  # EP_MAX_NESTS, and the innermost
_AF_INET, _AF_INET6, _STREAM, _TCP, _LISTEN = 2, 10, 1, 6, 10
_WORDS: Final = {_AF_INET: 1, _AF_INET6: 4}
_STATES: Final = range(1, 13)  # net/tcp_states.h
_MICROS: Final = 1_000_000


def type_name(entry: file_entry) -> str:
    """ "PIPE", or the number if there is no such type."""
    return fd_types.Name(entry.type) if entry.type in fd_types.values() else str(entry.type)


def file_damage(entry: file_entry) -> Iterator[str]:
    """What is wrong with one description."""
    field = FIELDS.get(entry.type)
    if field is None or not entry.HasField(field):
        yield f"its entry {entry.id} has no record of its type {type_name(entry)}"
        return
    record: Any = getattr(entry, field)
    look = _LOOKS.get(entry.type)
    if look is None:
        return
    name = f"its {field} {entry.id}"
    yield from (f"{name} {why}" for why in look(record))
    if record.fown.signum > SIGNALS:
        yield f"{name} sends signal {record.fown.signum}, which there is not"
    if record.fown.pid_type not in _FOWN_TYPES:
        yield f"{name} sends signals to an owner of type {record.fown.pid_type}"
    elif record.fown.pid > INT_MAX:
        yield f"{name} sends signals to {record.fown.pid}, which is no process"
    if entry.type not in (fd_types.REG, fd_types.PIPE) and record.flags & O_DIRECT:
        yield f"{name} has the flag O_DIRECT, which it cannot have"


def _reg(record: Any) -> Iterator[str]:
    if why := path_damage(record.name):
        yield why
    if record.pos > LONG_MAX:
        yield f"has the offset {record.pos:#x}"
    if record.flags & O_TMPFILE:
        yield "was opened without a name"
    if record.HasField("size") and record.size > LONG_MAX:
        yield f"has {record.size} bytes"


def path_damage(name: bytes) -> str:
    """Why *name* is no path, or ""."""
    if not name or b"\0" in name:
        return "has a path that is none"
    return f"has a path of {len(name)} bytes" if len(name) >= PATH_MAX else ""


def _pipe(record: Any) -> Iterator[str]:
    if record.flags & O_ACCMODE == O_ACCMODE:
        yield "is open for neither reading nor writing"


def _eventfd(record: Any) -> Iterator[str]:
    if record.counter == 2**64 - 1:
        yield "has counted further than it can"


def _epoll(record: eventpoll_file_entry) -> Iterator[str]:
    seen: set[int] = set()
    for watch in record.tfd:
        if watch.tfd in seen:
            yield f"watches descriptor {watch.tfd} twice"
        seen.add(watch.tfd)
        if watch.events & EPOLLEXCLUSIVE and watch.events & ~_EXCLUSIVE_WITH:
            yield f"watches descriptor {watch.tfd} for the events {watch.events:#x}, which cannot be together"


def _socket(record: inet_sk_entry) -> Iterator[str]:
    if record.family not in _WORDS or len(record.src_addr) != _WORDS[record.family]:
        yield f"has an address of {len(record.src_addr)} words and family {record.family}"
    if record.src_port > 0xFFFF or record.dst_port > 0xFFFF:
        yield "has a port that is none"
    if record.state not in _STATES:
        yield f"is in state {record.state}, which is unknown"
    if record.state == _LISTEN and (record.proto != _TCP or record.type != _STREAM):
        yield "listens, but is no TCP socket"
    yield from _options(record.opts)


def _options(opts: sk_opts_entry) -> Iterator[str]:
    for name in ("so_snd_tmo", "so_rcv_tmo"):
        if getattr(opts, f"{name}_sec") > LONG_MAX or getattr(opts, f"{name}_usec") >= _MICROS:
            yield f"has a time in {name} that is none"
    for name in ("so_sndbuf", "so_rcvbuf", "so_priority", "so_rcvlowat", "so_oobinline", "so_linger"):
        if (value := getattr(opts, name)) > INT_MAX:
            yield f"has {value} for {name}"
    # include/net/tcp.h, MAX_TCP_KEEPIDLE and so on. 0 is "as usual".
    for name, most in (("tcp_keepidle", 32767), ("tcp_keepintvl", 32767), ("tcp_keepcnt", 127)):
        if (value := getattr(opts, name)) > most:
            yield f"has {value} for {name}"
    if len(opts.so_bound_dev.encode()) > 15 or "\0" in opts.so_bound_dev:
        yield "is bound to a device whose name is none"


def _tty(record: Any) -> Iterator[str]:
    if record.flags & O_ACCMODE == O_ACCMODE:
        yield "is open for neither reading nor writing"


_LOOKS: Final[Mapping[int, Any]] = {
    fd_types.REG: _reg, fd_types.PIPE: _pipe, fd_types.EVENTFD: _eventfd, fd_types.EVENTPOLL: _epoll, fd_types.INETSK: _socket,
    fd_types.TTY: _tty,
}  # fmt: skip


def pipe_damage(records: Sequence[tuple[pipe_data_entry, bytes]]) -> Iterator[str]:
    """What is wrong with the contents of pipes."""
    seen: set[int] = set()
    for record, content in records:
        if record.pipe_id in seen:
            yield f"pipe {record.pipe_id} is there twice"
        seen.add(record.pipe_id)
        if record.size >= PIPE_LIMIT or len(content) > (record.size or PIPE_BYTES):
            yield f"pipe {record.pipe_id} has {record.size} bytes of room, and {len(content)} in it"


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


def epoll_damage(files: Mapping[int, file_entry], tables: Mapping[int, Sequence[fdinfo_entry]]) -> Iterator[str]:
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


def unsupported(entry: file_entry, ids: Collection[int]) -> Iterator[str]:
    """What is whole and cannot be put back. *ids*: those of the processes and threads of the tree."""
    if entry.type not in REBUILT:
        yield f"is of type {type_name(entry)}, which lamina cannot rebuild yet"
        return
    record: Any = getattr(entry, FIELDS[entry.type])
    if entry.type == fd_types.INETSK and (record.state != _LISTEN or record.proto != _TCP):
        yield "is a socket that does not listen; only listening TCP sockets can be rebuilt yet"
    if record.fown.pid and record.fown.pid not in ids:
        yield f"sends its signals to {record.fown.pid}, which is not in the tree"
