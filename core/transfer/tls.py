"""TLS for a connection between two page servers' sides, with CRIU's files and names (criu(8), "TLS").

Pages are moved by C, which knows nothing of TLS: it gets one end of a pair of sockets, and a thread moves bytes between the other end and
the encrypted connection.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lamina.core.errors import TransferError

CACERT = Path("/etc/pki/CA/cacert.pem")
CACRL = Path("/etc/pki/CA/cacrl.pem")
CERT = Path("/etc/pki/criu/cert.pem")
KEY = Path("/etc/pki/criu/private/key.pem")
_PART = 1 << 18
_RECORD = 1 << 14  # the most that one has


Cut = Callable[[bytes], int]
"""Told what waits to be sent, says how much of its beginning goes as one record; 0 to wait for more."""


@dataclass(frozen=True)
class Tls:
    """How a connection is secured. Both sides show a certificate, and each checks the other's.

    Attributes:
        cert, key: one's own, PEM.
        cacert: of the authority that must have signed the other's.
        cacrl: what that authority took back, or None.
        check_name: a sender wants the name it called in the certificate.
        server_name: that name.
    """

    cert: Path = CERT
    key: Path = KEY
    cacert: Path = CACERT
    cacrl: Path | None = None
    check_name: bool = True
    server_name: str = ""

    def context(self, as_server: bool) -> ssl.SSLContext:
        """What Python's ssl needs.

        Raises:
            TransferError: a file is missing, or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if as_server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = not as_server and self.check_name
        context.verify_mode = ssl.CERT_REQUIRED
        if as_server:
            context.num_tickets = 0  # criu takes the record that brings one for no answer, and gives up
        _load(self.cert, lambda: context.load_cert_chain(self.cert, self.key), self.key)
        _load(self.cacert, lambda: context.load_verify_locations(self.cacert))
        if self.cacrl is not None:
            crl = self.cacrl
            _load(crl, lambda: context.load_verify_locations(crl))
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context

    def secure(self, sock: socket.socket, peer: str, patience_s: float, as_server: bool, cut: Cut | None = None) -> "Secured":
        """Shake hands over *sock*, which is closed if that fails. *cut* says how what is sent is cut into records.

        Raises:
            TransferError: the other side is not who it should be, or does not speak TLS.
        """
        try:
            context = self.context(as_server)
            sock.settimeout(patience_s)
            secured = context.wrap_socket(sock, server_side=as_server, server_hostname=None if as_server else self.server_name or None)
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise TransferError("cannot use TLS", f"with {peer}", f"its certificate is refused: {error.verify_message}") from error
        except (OSError, ValueError) as error:
            sock.close()
            raise TransferError("cannot use TLS", f"with {peer}", _reason(error)) from error
        return Secured(secured, patience_s, cut)


def _load(path: Path, load: Callable[[], None], other: Path | None = None) -> None:
    """Read a file, and *other* with it; whichever is wrong is named."""
    try:
        load()
    except ssl.SSLError as error:
        raise TransferError("cannot use TLS", str(path), _reason(error)) from error
    except OSError as error:
        missing = other if other is not None and path.exists() else path
        raise TransferError("cannot use TLS", str(missing), (error.strerror or str(error)).lower()) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "it closed the connection"
    reason = getattr(error, "reason", None)
    return reason.lower().replace("_", " ") if isinstance(reason, str) else getattr(error, "strerror", None) or str(error)


class Secured:
    """An encrypted connection and the pair of sockets through which its plain bytes go.

    Attributes:
        plain: the end for whoever reads and writes.
        why: why the connection ended, if not in good order.
    """

    def __init__(self, secured: ssl.SSLSocket, patience_s: float, cut: Cut | None) -> None:
        self.why = ""
        self._cut = cut or len
        self._waiting = bytearray()
        secured.setblocking(False)
        self._secured = secured
        self._patience_s = patience_s
        self.plain, self._inner = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="lamina-tls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let what was written go out, and end it. The plain end is closed already. Never raises."""
        self._thread.join(self._patience_s)

    def _run(self) -> None:
        try:
            self._carry()
        except (OSError, ValueError) as error:
            self.why = self.why or _reason(error)
        finally:
            with suppress(OSError, ValueError):
                self._secured.setblocking(True)
                self._secured.settimeout(1)
                self._secured.unwrap()
            for end in (self._inner, self._secured):
                with suppress(OSError):
                    end.close()

    def _carry(self) -> None:
        listening: list[socket.socket] = [self._secured, self._inner]
        while self._inner in listening:
            ready = listening if self._secured.pending() else select.select(listening, [], [])[0]
            if self._secured in ready and not self._bring_in():
                listening.remove(self._secured)
                self._inner.shutdown(socket.SHUT_WR)
            if self._inner in ready and not self._take_out():
                listening.remove(self._inner)

    def _bring_in(self) -> bool:
        """What came, to the plain end; False at the end of the connection."""
        try:
            part = self._secured.recv(_PART)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        if part:
            self._inner.sendall(part)
        return bool(part)

    def _take_out(self) -> bool:
        """What was written to the plain end; False once it is closed."""
        try:
            part = self._inner.recv(_PART, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        self._waiting += part
        at, view = 0, bytes(self._waiting)
        while at < len(view) and (size := self._cut(view[at : at + _RECORD]) if part else len(view) - at):
            self._send(memoryview(view)[at : at + size])
            at += size
        del self._waiting[:at]
        return bool(part)

    def _send(self, part: memoryview) -> None:
        while part:
            try:
                part = part[self._secured.send(part) :]
            except ssl.SSLWantWriteError:
                if not select.select([], [self._secured], [], self._patience_s)[1]:
                    raise TimeoutError(f"it was silent for {self._patience_s:g} s") from None
            except ssl.SSLWantReadError:
                select.select([self._secured], [], [], self._patience_s)
