"""Options of sockets (socket(7), ip(7), ipv6(7), tcp(7), unix(7)), asked of a copy of the descriptor and set again.

Those that CRIU's `sk_opts_entry` has a field for are kept there. The others are kept in the supplement if they are not as on a socket that
was just made: that is asked, too, because the defaults are the machine's (sysctl). Accepted sockets inherit nearly all of them.
"""

import re
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from lamina.core.image.records.limits import INT_MAX, LONG_MAX
from lamina.core.image.schema import sk_opts_entry
from lamina.core.image.socket_options import OPTIONS, SOL, TCP, Option
from lamina.core.image.supplement import Rule, Value, Values

_MOST_BYTES: Final = 1024
"""What Python reads at once; IPv6's extension headers can have twice that, in theory."""
_HEX: Final = re.compile(r"([0-9a-f]{2}){0,2048}")
_MICROS: Final = 1_000_000
# asm-generic/socket.h: not in Python's socket module.
SO_BUF_LOCK, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_GET_FILTER, SO_NO_CHECK = 72, 32, 33, 26, 11
_TIMEVAL: Final = struct.Struct("<qq")
_LINGER: Final = struct.Struct("<ii")

# Field of sk_opts_entry → option; all are integers. What is 0 is not written.
_OPTIONS: Final = {
    "so_priority": (SOL, socket.SO_PRIORITY),
    "so_rcvlowat": (SOL, socket.SO_RCVLOWAT),
    "so_mark": (SOL, socket.SO_MARK),
    "so_passcred": (SOL, socket.SO_PASSCRED),
    "so_passsec": (SOL, socket.SO_PASSSEC),
    "so_no_check": (SOL, SO_NO_CHECK),
    "so_dontroute": (SOL, socket.SO_DONTROUTE),
    "so_reuseport": (SOL, socket.SO_REUSEPORT),
    "so_broadcast": (SOL, socket.SO_BROADCAST),
    "so_keepalive": (SOL, socket.SO_KEEPALIVE),
    "so_oobinline": (SOL, socket.SO_OOBINLINE),
    "tcp_keepcnt": (TCP, socket.TCP_KEEPCNT),
    "tcp_keepidle": (TCP, socket.TCP_KEEPIDLE),
    "tcp_keepintvl": (TCP, socket.TCP_KEEPINTVL),
}


def get(sock: socket.socket, level: int, option: int) -> int:
    """An option that is a number; 0 if this kernel or family has none."""
    try:
        return sock.getsockopt(level, option)
    except OSError:
        return 0


def read(sock: socket.socket) -> dict[str, Any]:
    """The fields of `sk_opts_entry`: sizes and times always, the others if they are not 0."""
    values: dict[str, Any] = _buffers(sock)
    values |= {name: value for name, option in _OPTIONS.items() if (value := get(sock, *option))}
    values["reuseaddr"] = bool(get(sock, SOL, socket.SO_REUSEADDR))
    if device := sock.getsockopt(SOL, socket.SO_BINDTODEVICE, 16).rstrip(b"\0"):
        values["so_bound_dev"] = device.decode(errors="replace")
    return values


def _buffers(sock: socket.socket) -> dict[str, int]:
    values = {"so_sndbuf": get(sock, SOL, socket.SO_SNDBUF), "so_rcvbuf": get(sock, SOL, socket.SO_RCVBUF)}
    for name, option in (("so_snd_tmo", socket.SO_SNDTIMEO), ("so_rcv_tmo", socket.SO_RCVTIMEO)):
        values[f"{name}_sec"], values[f"{name}_usec"] = _TIMEVAL.unpack(sock.getsockopt(SOL, option, _TIMEVAL.size))
    if lock := get(sock, SOL, SO_BUF_LOCK):
        values["so_buf_lock"] = lock
    on, seconds = _LINGER.unpack(sock.getsockopt(SOL, socket.SO_LINGER, _LINGER.size))
    if on:
        values["so_linger"] = seconds
    return values


def has_filter(sock: socket.socket) -> bool:
    """Whether a program chooses what it receives (SO_ATTACH_FILTER, SO_ATTACH_BPF)."""
    try:
        # The number of instructions; a filter of the newer kind (SO_ATTACH_BPF) is refused to be shown.
        return bool(sock.getsockopt(SOL, SO_GET_FILTER, 0))
    except PermissionError:
        return True


def apply(sock: socket.socket, opts: sk_opts_entry) -> None:
    """Set what `read` gave.

    Raises:
        OSError: one cannot be set here.
    """
    sock.setsockopt(SOL, socket.SO_REUSEADDR, opts.reuseaddr)
    for name, (level, option) in _OPTIONS.items():
        # Keepalive times of 0 mean "as usual" and cannot be set.
        if opts.HasField(name) and (value := int(getattr(opts, name))) and value != get(sock, level, option):
            sock.setsockopt(level, option, struct.pack("=I", value))  # so_mark has all 32 bits
    for name, option in (("so_snd_tmo", socket.SO_SNDTIMEO), ("so_rcv_tmo", socket.SO_RCVTIMEO)):
        seconds, micros = getattr(opts, f"{name}_sec"), getattr(opts, f"{name}_usec")
        if seconds or micros:
            sock.setsockopt(SOL, option, _TIMEVAL.pack(seconds, micros))
    # The kernel doubles what it is given. A size that nobody set is left to the kernel, which may tune it.
    for bit, force, size in ((1, SO_SNDBUFFORCE, opts.so_sndbuf), (2, SO_RCVBUFFORCE, opts.so_rcvbuf)):
        if opts.so_buf_lock & bit:
            sock.setsockopt(SOL, force, size // 2)
    if opts.HasField("so_linger"):
        sock.setsockopt(SOL, socket.SO_LINGER, _LINGER.pack(1, opts.so_linger))


def damage(opts: sk_opts_entry) -> Iterator[str]:
    """What options of a socket cannot be."""
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


# -- the supplement ------------------------------------------------------------------------------------------------------------------


def _value(sock: socket.socket, option: Option) -> Value | None:
    """Its value; None if this kernel or family has none."""
    try:
        raw = sock.getsockopt(option.level, option.number, option.size or _MOST_BYTES)
    except OSError:
        return None
    return int.from_bytes(raw, "little") if option.size else raw.hex()


def _set(sock: socket.socket, option: Option, value: Value) -> None:
    raw = int(value).to_bytes(option.size, "little") if option.size else bytes.fromhex(str(value))
    sock.setsockopt(option.level, option.number, raw)


def names_of(family: int) -> Collection[str]:
    """The options in `OPTIONS` that a socket of *family* can have."""
    return [name for name, option in OPTIONS.items() if family != socket.AF_UNIX or option.level == SOL]


def kept_of(family: int) -> dict[str, Rule]:
    """What the supplement may have of such a socket: a number, or bytes as hex digits."""
    return {name: range(1 << 8 * OPTIONS[name].size) if OPTIONS[name].size else _HEX for name in names_of(family)}


@cache
def _usual(family: int) -> Mapping[str, Value | None]:
    """What a socket has that was just made, and listens if it is a TCP one."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if family != socket.AF_UNIX:
            sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            sock.listen(1)
        return {name: _value(sock, OPTIONS[name]) for name in names_of(family)}


def read_more(sock: socket.socket) -> dict[str, Value]:
    """Every option of a socket, a TCP one if it listens, that is not as usual. About 0.1 ms.

    Raises:
        OSError: no socket can be made to compare with.
    """
    try:
        usual = _usual(sock.family)
    except OSError:
        # No address of that family is up: what is asked of a socket that is not bound differs in nothing but what listen(2) sets.
        with socket.socket(sock.family, socket.SOCK_STREAM, TCP) as other:
            usual = {name: _value(other, option) for name, option in OPTIONS.items()}
    found = {}
    for name in names_of(sock.family):
        value = _value(sock, OPTIONS[name])
        if value is not None and value != usual[name]:
            found[name] = value
    return found


def apply_more(sock: socket.socket, kept: Values, early: bool) -> None:
    """Set those that *kept* (of the supplement) says: the *early* ones before the socket is bound, the others when it listens.

    Raises:
        OSError: one cannot be set here; it is named.
    """
    for name, value in _in_order(kept):
        option = OPTIONS[name]
        if option.early != early or _value(sock, option) == value:
            continue
        try:
            _set(sock, option, value)
        except OSError as error:
            raise OSError(error.errno, f"its option {name} ({value}) cannot be set: {error.strerror}") from error
        except (OverflowError, ValueError) as error:
            raise OSError(22, f"its option {name} cannot be {value}") from error


def _in_order(kept: Values) -> Iterable[tuple[str, Value]]:
    # In the order of the table: the new time stamps after the old, whose flags they share.
    return [(name, kept[name]) for name in OPTIONS if name in kept]
