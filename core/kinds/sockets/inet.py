"""Listening TCP sockets, IPv4 and IPv6: address, port, backlog and options (tcp(7), socket(7)).

Everything else that is a socket is named, so that a refusal says which connection stands in the way. Sockets are looked at through a copy
of the descriptor (pidfd_getfd), which changes nothing and tells more than /proc/net does.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from lamina.core.errors import Blocker, NativeError
from lamina.core.image.schema import fd_types, file_entry, inet_sk_entry, ip_opts_entry, sk_opts_entry, tcp_opts_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.kinds.sockets import multicast, options, segment_keys
from lamina.core.kinds.sockets.options import get
from lamina.core.kinds.sockets.portholder import holder_of_port
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.rawfd import Holders, RawFd, grab

SOL, TCP, IP, IP6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
TCP_LISTEN: Final = 10
_WORDS: Final = {int(socket.AF_INET): 1, int(socket.AF_INET6): 4}
_STATES: Final = range(1, 13)  # net/tcp_states.h
IP_FREEBIND, IP_PKTINFO = 15, 8  # linux/in.h: not in Python's socket module
# struct tcp_info: for a listening socket "unacked" counts connections that wait for accept(2), "sacked" is the backlog.
_TCP_INFO: Final = struct.Struct("<24xII")

# Fields of ip_opts_entry and tcp_opts_entry, likewise; those that a new socket has are not written.
_IP_OPTIONS: Final = {"tos": (IP, socket.IP_TOS), "ttl": (IP, socket.IP_TTL), "pktinfo": (IP, IP_PKTINFO), "freebind": (IP, IP_FREEBIND)}
_TCP_OPTIONS: Final = {"nodelay": (TCP, socket.TCP_NODELAY), "cork": (TCP, socket.TCP_CORK)}
# AF_ numbers (linux/socket.h): Python's socket module has not all of them.
_FAMILIES: Final = {16: "netlink", 17: "packet", 29: "CAN", 31: "bluetooth", 38: "kernel crypto", 40: "vsock", 44: "XDP"}
_STREAMS: Final = {132: "SCTP", 262: "MPTCP"}


@dataclass(frozen=True)
class Listener:
    """What a listening socket is, asked of a copy of it.

    Attributes:
        family, address, port, scope: where it listens; scope is the interface index of a link-local IPv6 address.
        backlog, waiting: of listen(2), and connections that wait to be accepted.
        refusal: why it cannot be saved, or "": then nothing else is filled.
        values: field of `sk_opts_entry` → value; ip, tcp: of `ip_opts_entry` and `tcp_opts_entry`.
        more: options that these have no field for, for the supplement.
    """

    refusal: str = ""
    family: int = 0
    address: str = ""
    port: int = 0
    scope: int = 0
    backlog: int = 0
    v6only: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    ip: dict[str, int] = field(default_factory=dict)
    tcp: dict[str, int] = field(default_factory=dict)
    more: dict[str, Value] = field(default_factory=dict)


def _where(address: Any) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _name(sock: socket.socket) -> str:
    """A socket that is not a listening TCP one, in words."""
    peer, own = "", ""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return f"a {_FAMILIES.get(int(sock.family), f'family {int(sock.family)}')} socket: not supported yet"
    with suppress(OSError):
        peer = _where(sock.getpeername())
    with suppress(OSError):
        own = _where(sock.getsockname())
    what = {socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP", socket.SOCK_RAW: "raw"}.get(sock.type, "internet")
    if sock.type == socket.SOCK_STREAM and sock.proto not in (0, TCP):
        what = _STREAMS.get(sock.proto, f"protocol {sock.proto}")
    if what == "TCP" and peer:
        return f"a TCP connection to {peer}: --tcp-established is not supported yet"
    where = f"connected to {peer}" if peer else f"bound to {own}" if own and not own.endswith(":0") else "not bound"
    article = "an" if what[0] in "iMS" else "a"
    return f"{article} {what} socket, {where}: only listening TCP sockets are supported yet"


def _changed(sock: socket.socket, options: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Those of *options* that are not as on a new socket."""
    with socket.socket(sock.family, socket.SOCK_STREAM, TCP) as new:
        return {name: value for name, option in options.items() if (value := get(sock, *option)) != get(new, *option)}


def look(sock: socket.socket, groups: multicast.Groups) -> Listener:
    """Everything about a socket, or why it cannot be saved. *groups*: of this machine."""
    internet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM and sock.proto in (0, TCP)
    if not internet or not get(sock, SOL, socket.SO_ACCEPTCONN):
        return Listener(_name(sock))
    where = sock.getsockname()
    at = f"listens on {_where(where)}"
    if options.has_filter(sock):
        return Listener(f"{at} with a packet filter attached")
    if option := segment_keys.name(sock):
        return Listener(f"{at} with keys for signed segments ({option}), which images cannot hold")
    if group := groups.of(sock):
        return Listener(f"{at} as a member of the multicast group {group}, which images cannot hold")
    waiting, backlog = _TCP_INFO.unpack(sock.getsockopt(TCP, socket.TCP_INFO, _TCP_INFO.size))
    if waiting:
        return Listener(f"{at}, and {waiting} new connection{'s' * (waiting > 1)} wait{'s' * (waiting == 1)} to be accepted")
    six = sock.family == socket.AF_INET6
    return Listener(
        family=sock.family, address=where[0].partition("%")[0], port=where[1], scope=where[3] if six else 0, backlog=backlog,
        v6only=six and bool(get(sock, IP6, socket.IPV6_V6ONLY)), values=options.read(sock),
        ip=_changed(sock, _IP_OPTIONS), tcp=_changed(sock, _TCP_OPTIONS), more=options.read_more(sock),
    )  # fmt: skip


class TcpListener(DescriptorKind):
    """A socket; only a listening TCP one can be saved."""

    name = "listening TCP socket"
    type = fd_types.INETSK
    field = "isk"
    kept = MappingProxyType(options.kept_of(socket.AF_INET))

    def recognise(self, raw: RawFd) -> bool:
        """Every socket: what it is shows only a copy."""
        return raw.link.startswith("socket:[")

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Not a listening TCP socket, or one with what the images cannot hold."""
        raw = holders[0]
        try:
            found = self.capture(holders, view.pidfd(raw.pid), view.surroundings.of(self))
        except (NativeError, OSError) as error:
            if (error.errnum if isinstance(error, NativeError) else error.errno) in (errno.EBADF, errno.ESRCH):
                return None  # closed while we looked
            return raw.blocker(f"a socket that cannot be looked at: {error}", "run lamina as root")
        return self._refusal(raw, found)

    @staticmethod
    def _refusal(raw: RawFd, found: Listener) -> Blocker | None:
        if not found.refusal:
            return None
        fix = "try again in a moment" if "to be accepted" in found.refusal else "let it close, then dump"
        return raw.blocker(found.refusal, fix)

    def surroundings(self) -> multicast.Groups:
        """Groups that it may be in."""
        return multicast.Groups()

    def capture(self, holders: Holders, pidfd: int, around: multicast.Groups) -> Listener:
        """All options of it, about 30 system calls."""
        with socket.socket(fileno=grab(pidfd, holders[0].fd)) as sock:
            return look(sock, around)

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """As `blocker`, for the moment of the freeze."""
        return self._refusal(file.raw, file.extra)

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """Address and options."""
        raw, found = file.raw, file.extra
        words = struct.unpack(f"={4 if found.family == socket.AF_INET6 else 1}I", socket.inet_pton(found.family, found.address))
        record = inet_sk_entry(
            id=ident, ino=raw.ino & 0xFFFFFFFF, family=found.family, type=socket.SOCK_STREAM, proto=TCP, state=TCP_LISTEN,
            src_port=found.port, dst_port=0, flags=raw.flags, backlog=found.backlog, src_addr=words, dst_addr=[0] * len(words),
            fown=raw.owner.entry(), opts=sk_opts_entry(**found.values),
        )  # fmt: skip
        if found.family == socket.AF_INET6:
            record.v6only = found.v6only
        if found.ip:
            record.ip_opts.CopyFrom(ip_opts_entry(**found.ip))
        if found.tcp:
            record.tcp_opts.CopyFrom(tcp_opts_entry(**found.tcp))
        if found.scope:
            record.ifname = socket.if_indextoname(found.scope)
        return file_entry(type=fd_types.INETSK, id=ident, isk=record)

    def supplement(self, file: CapturedFile) -> Values:
        """Options that its record has no field for."""
        more: Values = file.extra.more
        return more

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if record.family not in _WORDS or len(record.src_addr) != _WORDS[record.family]:
            yield f"has an address of {len(record.src_addr)} words and family {record.family}"
        if record.src_port > 0xFFFF or record.dst_port > 0xFFFF:
            yield "has a port that is none"
        if record.state not in _STATES:
            yield f"is in state {record.state}, which is unknown"
        if record.state == TCP_LISTEN and (record.proto != TCP or record.type != socket.SOCK_STREAM):
            yield "listens, but is no TCP socket"
        yield from options.damage(record.opts)
        if record.flags & os.O_DIRECT:
            yield "has the flag O_DIRECT, which it cannot have"

    def unsupported(self, record: Any) -> Iterator[str]:
        """Any socket that does not listen."""
        if record.state != TCP_LISTEN or record.proto != TCP:
            yield "is a socket that does not listen; only listening TCP sockets can be rebuilt yet"

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Is the address ours and the port free, and can its options be set? Found by binding a socket for a moment, without listening."""
        record = entry.isk
        if record.state != TCP_LISTEN or record.proto != TCP:
            return Blocker(f"socket {record.id}", "it does not listen; only listening TCP sockets can be rebuilt yet")
        kept = opening.supplement(entry.id)
        try:
            with _bind(record, kept) as sock:
                _apply(sock, record, kept)
        except OSError as error:
            return self._taken(record, error, opening)
        return None

    @staticmethod
    def _taken(record: inet_sk_entry, error: OSError, opening: Opening) -> Blocker | None:
        where = _where(_address(record))
        if error.errno != errno.EADDRINUSE:
            return Blocker(f"listening socket {where}", error.strerror or str(error))
        pid, holder = holder_of_port(record.src_port, record.family)
        if pid in opening.options.ending:
            return None
        return Blocker(f"port {record.src_port}", f"cannot listen on {where}: {holder}", "end it first")

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Bind, listen, set what it had."""
        record = entry.isk
        kept = opening.supplement(entry.id)
        sock = _bind(record, kept)
        try:
            sock.listen(min(record.backlog, 0x7FFFFFFF))
            _apply(sock, record, kept)
        except BaseException:
            sock.close()
            raise
        return sock.detach()


def _address(record: inet_sk_entry) -> Any:
    words = struct.pack(f"={len(record.src_addr)}I", *record.src_addr)
    text = socket.inet_ntop(record.family, words)
    if record.family == socket.AF_INET:
        return (text, record.src_port)
    return (text, record.src_port, 0, socket.if_nametoindex(record.ifname) if record.ifname else 0)


def _bind(record: inet_sk_entry, kept: Values) -> socket.socket:
    """A socket bound to the record's address; SO_REUSEADDR lets it pass connections that are still closing."""
    if record.family not in (socket.AF_INET, socket.AF_INET6) or len(record.src_addr) != (1 if record.family == socket.AF_INET else 4):
        raise OSError(errno.EAFNOSUPPORT, "not an internet address")
    sock = socket.socket(record.family, socket.SOCK_STREAM, TCP)
    try:
        sock.setsockopt(SOL, socket.SO_REUSEADDR, 1)
        if record.opts.so_reuseport:
            sock.setsockopt(SOL, socket.SO_REUSEPORT, 1)
        if record.family == socket.AF_INET6:
            sock.setsockopt(IP6, socket.IPV6_V6ONLY, record.v6only)
        if record.ip_opts.freebind:
            sock.setsockopt(IP, IP_FREEBIND, 1)
        if record.opts.so_bound_dev:
            sock.setsockopt(SOL, socket.SO_BINDTODEVICE, record.opts.so_bound_dev.encode() + b"\0")
        options.apply_more(sock, kept, early=True)
        sock.bind(_address(record))
    except BaseException:
        sock.close()
        raise
    return sock


def _apply(sock: socket.socket, record: inet_sk_entry, kept: Values) -> None:
    options.apply(sock, record.opts)
    for entry, table in ((record.ip_opts, _IP_OPTIONS), (record.tcp_opts, _TCP_OPTIONS)):
        for name, (level, option) in table.items():
            if entry.HasField(name) and int(getattr(entry, name)) != get(sock, level, option):
                sock.setsockopt(level, option, int(getattr(entry, name)))
    options.apply_more(sock, kept, early=False)
    if record.flags & os.O_NONBLOCK:
        sock.setblocking(False)
