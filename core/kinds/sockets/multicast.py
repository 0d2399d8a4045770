"""Multicast groups that a socket is a member of. A listening TCP socket can be, too: MCAST_JOIN_GROUP and IP_ADD_SOURCE_MEMBERSHIP take it.

No option lists them, but MCAST_MSFILTER answers about a group that is named to it, EADDRNOTAVAIL if the socket is no member (RFC 3678).
So each group is asked about that some socket of this machine is in: /proc/net/igmp and /proc/net/igmp6.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lamina.core.ffi import C, ffi

MCAST_MSFILTER: Final = 48
# struct group_filter (linux/in.h): interface, group, mode, number of sources, room for none.
_IPV4: Final = struct.Struct("=I4xHxx4s120xII")
_IPV6: Final = struct.Struct("=I4xHxxI16s104xII")
_ALL_HOSTS: Final = "010000E0"
"""224.0.0.1, which no socket joins: the machine is in it."""


class Groups:
    """Those that this machine is in, as of now."""

    def __init__(self) -> None:
        self._questions = tuple(_questions())

    def of(self, sock: socket.socket) -> str:
        """One that *sock* is in, as text, or ""."""
        for level, address, asked in self._questions:
            if level == socket.IPPROTO_IPV6 and sock.family != socket.AF_INET6:
                continue
            if _answers(sock, level, asked):
                return socket.inet_ntop(socket.AF_INET6 if level == socket.IPPROTO_IPV6 else socket.AF_INET, address)
        return ""


def _answers(sock: socket.socket, level: int, asked: bytes) -> bool:
    # Python's getsockopt(2) hands the kernel zeroes, and this option reads what it is asked about.
    return bool(C.lm_option_get(sock.fileno(), level, MCAST_MSFILTER, ffi.from_buffer(bytearray(asked)), len(asked)) == 0)


def _questions() -> Iterator[tuple[int, bytes, bytes]]:
    """(level, address, what MCAST_MSFILTER is given)."""
    with suppress(OSError):
        interface = 0
        for line in Path("/proc/net/igmp").read_text().splitlines()[1:]:
            words = line.split()
            if not line.startswith("\t"):
                interface = int(words[0])
            elif words[0] != _ALL_HOSTS:
                address = int(words[0], 16).to_bytes(4, "little")
                yield socket.IPPROTO_IP, address, _IPV4.pack(interface, socket.AF_INET, address, 0, 0)
    with suppress(OSError):
        for line in Path("/proc/net/igmp6").read_text().splitlines():
            words = line.split()
            address = bytes.fromhex(words[2])
            yield socket.IPPROTO_IPV6, address, _IPV6.pack(int(words[0]), socket.AF_INET6, 0, address, 0, 0)
