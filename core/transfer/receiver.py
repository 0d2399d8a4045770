"""A page server: waits for one sender, receives one layer of memory, and ends (`lamina page-server`, `criu page-server`)."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from lamina.core.errors import BusyError, LaminaError, TransferError
from lamina.core.events import CancelToken, Listener, Notice, ignore
from lamina.core.transfer import wire
from lamina.core.transfer.connection import OPEN_TO_ALL, Connection, listen, peer_of
from lamina.core.transfer.received_layer import Received, ServerRequest, Session, open_draft
from lamina.core.transfer.wire import Answer


class PageServer:
    """Listens from the moment it is made. Use as a context manager.

    Attributes:
        address: where, with the port that was given to it.
    """

    def __init__(self, request: ServerRequest) -> None:
        """Raises:
        ImageError: the directory or the parent cannot be used.
        TransferError: the address cannot be had, or a certificate cannot be read.
        """
        self.request = request
        if request.tls:
            request.tls.context(as_server=True)
        _try_out(request)
        self._socket = listen(request.address)
        self.address = replace(request.address, port=self._socket.getsockname()[1])
        self._notices: list[str] = []

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def serve(self, listener: Listener = ignore, cancel: CancelToken | None = None) -> Received:
        """Receive one layer.

        Raises:
            LaminaError: it did not arrive whole; nothing of it is there, and its ancestors are as they were.
            Cancelled: as asked.
        """
        cancel = cancel or CancelToken()

        def notice(text: str) -> None:
            self._notices.append(text)
            listener(Notice(text))

        if not self.request.tls and not self.address.is_loopback:
            notice(f"{self.address}: {OPEN_TO_ALL}")
        while True:
            connection = self._accept(cancel, notice)
            if connection is None:
                continue
            try:
                session = Session(self.request, connection, listener, notice, cancel)
                with self._turning_away(session, notice), connection.heeding(cancel):
                    found = session.run()
                if found is not None:
                    return replace(found, notices=tuple(self._notices))
            except LaminaError:
                cancel.check("page server")
                raise
            finally:
                connection.close()

    def _accept(self, cancel: CancelToken, notice: Callable[[str], None]) -> Connection | None:
        while not select.select([self._socket], [], [], 0.1)[0]:
            cancel.check("page server")
        try:
            accepted = self._socket.accept()[0]
        except OSError:
            return None  # it went away meanwhile
        try:
            return Connection(accepted, self.request.patience_s, self.request.tls, as_server=True)
        except TransferError as error:
            notice(f"{error}; still waiting for a sender")
            return None

    @contextmanager
    def _turning_away(self, session: "Session", notice: Callable[[str], None]) -> Iterator[None]:
        """Whoever calls while a dump arrives is told so, in a way that a lamina understands and that ends a criu. While somebody only asks,
        others wait for their turn.
        """
        done = threading.Event()
        served = session.peer

        def run() -> None:
            while not done.wait(0 if session.begun.is_set() else 0.05):
                with suppress(OSError):
                    if session.begun.is_set() and select.select([self._socket], [], [], 0.1)[0]:
                        refuse(self._socket.accept()[0])

        def refuse(other: socket.socket) -> None:
            who = peer_of(other)
            with contextlib.closing(other), suppress(OSError):
                other.settimeout(1)
                if not self.request.tls:
                    other.sendall(wire.answer(Answer.REFUSED) + wire.words(f"it is serving {served}"))
                    other.shutdown(socket.SHUT_WR)
                    other.recv(64)
            notice(f"{who} was turned away: {served} is being served")

        thread = threading.Thread(target=run, name="lamina-turning-away", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _try_out(request: ServerRequest) -> None:
    """Whether a layer can be written there; whoever writes to the stack now, as the page server before this one, is waited for."""
    deadline = time.monotonic() + request.patience_s
    while True:
        try:
            with open_draft(request):
                return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
