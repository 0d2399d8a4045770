"""The kernel's lists of sockets (sock_diag(7)): what no option of a socket tells."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, _NLM_F_DUMP, _NLMSG_ERROR, _NLMSG_DONE = 20, 0x1, 0x300, 2, 3
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")


class SocketDiag:
    """A way to ask, used for several questions."""

    def __init__(self) -> None:
        """Raises `OSError` if the kernel has no sock_diag."""
        self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Idempotent; done at the latest when nobody has this any more."""
        self._asking.close()

    def one(self, request: bytes) -> bytes:
        """The answer about one socket.

        Raises:
            OSError: there is no such socket, or the kernel cannot tell of that family.
        """
        return next(self._answers(request, 0))

    def all(self, request: bytes) -> Iterator[bytes]:
        """The answers about all that *request* (of the family) asks for. Raises as `one`."""
        yield from self._answers(request, _NLM_F_DUMP)

    def _answers(self, request: bytes, flags: int) -> Iterator[bytes]:
        self._asking.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 1, 0) + request)
        while True:
            data, at = self._asking.recv(1 << 20), 0
            while at < len(data):
                size, kind, *_ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + size]
                at += size + 3 & ~3
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    code = -int.from_bytes(body[:4], "little", signed=True)
                    raise OSError(code, f"sock_diag: {os.strerror(code)}")
                yield body


def attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """What follows the fixed part of an answer, as (kind, content)."""
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        size, kind = _ATTRIBUTE.unpack_from(raw, at)
        yield kind, raw[at + _ATTRIBUTE.size : at + size]
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
