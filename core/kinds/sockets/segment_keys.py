"""Keys with which the segments of a TCP socket are signed: TCP_MD5SIG (RFC 2385, as BGP speakers use it) and TCP_AO (RFC 5925).

No option tells those of the first kind, but the kernel's list of sockets does (sock_diag(7), attribute INET_DIAG_MD5SIG since 4.14), to
whoever has CAP_NET_ADMIN over the network namespace, where the kernel has tcp_diag. Elsewhere they cannot be seen, and README says so.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Final

from lamina.core.kinds.sockets.diag import SocketDiag, attributes

TCP_MD5SIG, TCP_AO_INFO, _AO_INFO_BYTES = 14, 40, 64
_TCP_LISTEN_BIT: Final = 1 << 10
# Without the extension INET_DIAG_INFO the kernel leaves out all that is particular to TCP.
_INET_DIAG_INFO_BIT, _INET_DIAG_MD5SIG = 1 << (2 - 1), 18
# struct inet_diag_req_v2 for a port; struct inet_diag_msg ends with the inode.
_REQUEST: Final = struct.Struct("=BBBxI2s46x")
_MESSAGE: Final = struct.Struct("=68xI")
# struct tcp_md5sig without a key, which takes one away: a socket that has none answers ENOENT, a kernel that knows none ENOPROTOOPT.
_NO_KEY: Final = struct.pack("=H214x", socket.AF_INET)


def name(sock: socket.socket) -> str:
    """The option that has set keys on a listening socket, or "". About 5 system calls, of which one walks all listening sockets."""
    try:
        sock.getsockopt(socket.IPPROTO_TCP, TCP_AO_INFO, _AO_INFO_BYTES)
    except OSError:
        return "TCP_MD5SIG" if _kernel_has_md5() and _has_md5(sock) else ""
    return "TCP_AO"


@cache
def _kernel_has_md5() -> bool:
    with socket.socket() as new:
        try:
            new.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, _NO_KEY)
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True


def _has_md5(sock: socket.socket) -> bool:
    ino = os.fstat(sock.fileno()).st_ino & 0xFFFF_FFFF
    with suppress(OSError):  # no tcp_diag
        for found, attributes in _listeners(sock.family, sock.getsockname()[1]):
            if found == ino:
                return _INET_DIAG_MD5SIG in attributes
    return False  # of another network namespace, which is refused as such


def _listeners(family: int, port: int) -> Iterator[tuple[int, set[int]]]:
    """(inode, kinds of attributes) of each socket that listens there."""
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, _INET_DIAG_INFO_BIT, _TCP_LISTEN_BIT, port.to_bytes(2, "big"))
    diag = SocketDiag()
    try:
        for answer in diag.all(request):
            yield _MESSAGE.unpack_from(answer)[0], {kind for kind, _ in attributes(answer[_MESSAGE.size :])}
    finally:
        diag.close()
