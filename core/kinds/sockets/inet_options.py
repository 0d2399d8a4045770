"""Options of a listening TCP socket beyond those of CRIU's records: asked of a copy of it, kept in the supplement, set again.

Accepted sockets inherit nearly all of them, so each counts for every later connection. An option is kept if it is not as on a socket that
was just made: that is asked, too, because the defaults are the machine's (sysctl). socket(7), ip(7), ipv6(7), tcp(7).
"""

import socket
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from lamina.core.image.socket_options import OPTIONS, TCP, Option
from lamina.core.image.supplement import Value, Values

_MOST_BYTES: Final = 1024
"""What Python reads at once; IPv6's extension headers can have twice that, in theory."""


def _get(sock: socket.socket, option: Option) -> Value | None:
    """Its value; None if this kernel or family has none."""
    try:
        raw = sock.getsockopt(option.level, option.number, option.size or _MOST_BYTES)
    except OSError:
        return None
    return int.from_bytes(raw, "little") if option.size else raw.hex()


def _set(sock: socket.socket, option: Option, value: Value) -> None:
    raw = int(value).to_bytes(option.size, "little") if option.size else bytes.fromhex(str(value))
    sock.setsockopt(option.level, option.number, raw)


@cache
def _usual(family: int) -> Mapping[str, Value | None]:
    """What a socket has that was just made and listens."""
    with socket.socket(family, socket.SOCK_STREAM, TCP) as sock:
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        sock.listen(1)
        return {name: _get(sock, option) for name, option in OPTIONS.items()}


def read(sock: socket.socket) -> dict[str, Value]:
    """Every option of a listening socket that is not as usual. About 0.1 ms.

    Raises:
        OSError: no socket can be made to compare with.
    """
    try:
        usual = _usual(sock.family)
    except OSError:
        # No address of that family is up: what is asked of a socket that is not bound differs in nothing but what listen(2) sets.
        with socket.socket(sock.family, socket.SOCK_STREAM, TCP) as other:
            usual = {name: _get(other, option) for name, option in OPTIONS.items()}
    found = {}
    for name, option in OPTIONS.items():
        value = _get(sock, option)
        if value is not None and value != usual[name]:
            found[name] = value
    return found


def rebuild(sock: socket.socket, kept: Values, early: bool) -> None:
    """Set what *kept* (of the supplement) says: the *early* ones before the socket is bound, the others when it listens.

    Raises:
        OSError: one cannot be set here; it is named.
    """
    for name, value in _in_order(kept):
        option = OPTIONS[name]
        if option.early != early or _get(sock, option) == value:
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
