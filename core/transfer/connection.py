"""A TCP connection between the two sides: addresses, time limits, and waiting for answers."""

import errno
import ipaddress
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lamina.core.errors import TransferError
from lamina.core.events import CancelToken
from lamina.core.transfer.tls import Cut, Secured, Tls

PATIENCE_S = 60.0
"""How long the other side may be silent, seconds."""
_BUFFER = 4 << 20


@dataclass(frozen=True)
class Address:
    """Where a page server listens.

    Attributes:
        host: a name or a number; by itself only this machine.
        port: 0 for any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody else can listen in."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


OPEN_TO_ALL = "memory goes over the network as it is, to be read and changed by anybody on its way: use --tls"


def listen(address: Address) -> socket.socket:
    """A socket that waits for the sender.

    Raises:
        TransferError: the address cannot be had.
    """
    last: OSError | None = None
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise TransferError("cannot listen at", str(address), str(error)) from error
    for family, kind, protocol, _, where in found:
        server = socket.socket(family, kind, protocol)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(where)
            server.listen(8)
            return server
        except OSError as error:
            server.close()
            last = error
    raise TransferError("cannot listen at", str(address), os.strerror(last.errno or 0) if last else "no such address") from last


def connect(address: Address, patience_s: float) -> socket.socket:
    """A connection to a page server.

    Raises:
        TransferError: nobody answers there.
    """
    try:
        connected = socket.create_connection((address.host, address.port), timeout=patience_s)
    except ConnectionRefusedError as error:
        fix = "start lamina page-server there first"
        raise TransferError("cannot reach", f"page server {address}", "nobody listens there", fix) from error
    except TimeoutError as error:
        raise TransferError("cannot reach", f"page server {address}", f"no answer for {patience_s:g} s") from error
    except (OSError, UnicodeError) as error:
        raise TransferError("cannot reach", f"page server {address}", getattr(error, "strerror", None) or str(error)) from error
    return connected


def peer_of(sock: socket.socket) -> str:
    """Who is at the other end, as in "127.0.0.1:4711"."""
    try:
        name = sock.getpeername()
    except OSError:
        return "the other side"
    return str(Address(name[0], name[1])) if isinstance(name, tuple) else "the other side"


def _limit(sock: socket.socket, patience_s: float) -> None:
    """Blocking calls, each of which gives up (EAGAIN) after so long without a byte: C uses the descriptor itself."""
    sock.setblocking(True)
    limit = struct.pack("ll", int(patience_s), int(patience_s % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, limit)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Connection:
    """One connection, whoever called. Closing it, or a cancel, wakes whoever waits in it.

    Attributes:
        peer: who is at the other end.
        patience_s: how long it may be silent.
    """

    def __init__(
        self, sock: socket.socket, patience_s: float, tls: Tls | None = None, as_server: bool = False, cut: Cut | None = None
    ) -> None:
        """Takes *sock* over. *cut*: as in `Tls.secure`.

        Raises:
            TransferError: the other side does not speak TLS, or is not who it should be.
        """
        self.peer = peer_of(sock)
        self.patience_s = patience_s
        self._secured: Secured | None = None
        if tls is not None:
            self._secured = tls.secure(sock, self.peer, patience_s, as_server, cut)
            sock = self._secured.plain
        self._sock = sock
        self._closed = threading.Event()
        _limit(sock, patience_s)

    def fileno(self) -> int:
        """The descriptor, for C."""
        return self._sock.fileno()

    def send(self, data: bytes) -> None:
        """All of *data*. Raises `TransferError`."""
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[self._sock.send(view, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    # As native/pagesend.c: a call that waits would hide how long nothing has gone.
                    room = select.poll()
                    room.register(self._sock, select.POLLOUT)
                    if not room.poll(self.patience_s * 1000):
                        raise
        except OSError as error:
            raise self.failed(error.errno or 0) from error

    def receive(self, size: int) -> bytes:
        """Exactly *size* bytes. Raises `TransferError`, also if the connection ends before."""
        data = b""
        while len(data) < size:
            try:
                part = self._sock.recv(size - len(data))
            except OSError as error:
                raise self.failed(error.errno or 0) from error
            if not part:
                raise self.failed(0)
            data += part
        return data

    def pending(self) -> bool:
        """Whether something came, or the end, that nobody has read yet."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def failed(self, errnum: int) -> TransferError:
        """The error for what a call on the connection said; 0 for its end."""
        if self._secured and self._secured.why:
            why = self._secured.why
        elif errnum in (errno.EAGAIN, errno.ETIMEDOUT):
            why = f"it was silent for {self.patience_s:g} s"
        elif errnum in (0, errno.EPIPE, errno.ECONNRESET):
            why = "it closed the connection"
        else:
            why = os.strerror(errnum).lower()
        return TransferError("lost", f"the connection to {self.peer}", why)

    def finish(self, last: bytes = b"", seconds: float = 2.0) -> None:
        """Say *last*, so that it is read: what still comes is thrown away until the other side ends, for at most *seconds*."""
        with suppress(OSError, TransferError):
            self.send(last)
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))
            left = _BUFFER * 64
            while left > 0 and (part := self._sock.recv(_BUFFER)):
                left -= len(part)
        self.close()

    def wake(self) -> None:
        """Make everybody who waits in it return."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it. Never raises."""
        self._closed.set()
        with suppress(OSError):
            self._sock.close()
        if self._secured:
            self._secured.close()

    @contextmanager
    def heeding(self, cancel: CancelToken) -> Iterator[None]:
        """While this lasts, *cancel* ends the connection: a call in C does not look at it."""
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                if cancel.wait(0.1):
                    self.wake()
                    return

        watcher = threading.Thread(target=watch, name="lamina-cancel", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


@contextmanager
def repeating(act: Callable[[], None], seconds: float) -> Iterator[None]:
    """While this lasts, *act* every so often, in a thread of its own; what it raises ends it."""
    done = threading.Event()

    def run() -> None:
        with suppress(TransferError):
            while not done.wait(seconds):
                act()

    thread = threading.Thread(target=run, name="lamina-repeating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
