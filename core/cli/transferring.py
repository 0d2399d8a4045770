"""page-server, and what a dump needs to send to one."""

import argparse
import os
from dataclasses import fields
from pathlib import Path

from lamina.core.cli.output import Output, duration, log, pages, size
from lamina.core.dirty.runs import PAGE
from lamina.core.errors import LaminaError, TransferError, UsageError
from lamina.core.events import CancelToken
from lamina.core.transfer.connection import Address
from lamina.core.transfer.conversation import Server
from lamina.core.transfer.received_layer import Received, ServerRequest
from lamina.core.transfer.receiver import PageServer
from lamina.core.transfer.sender import PageServerPages, settle
from lamina.core.transfer.tls import CACERT, CACRL, CERT, KEY, Tls

_TLS = ("tls_cacert", "tls_cacrl", "tls_cert", "tls_key", "tls_no_cn_verify")


def page_server(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina page-server -D DIR …`: serves one dump."""
    if args.status_fd is not None:
        _require_open(args.status_fd)
    address = Address(args.address or "127.0.0.1", args.port)
    request = ServerRequest(args.images_dir, address, args.prev_images_dir, args.auto_dedup, _tls(args), args.timeout)
    with PageServer(request) as server:
        said = f"page server for {args.images_dir} listens at {server.address}"
        if args.daemon and (child := os.fork()):
            output.note(f"{said}, as process {child}")
            os._exit(0)
        if args.daemon:
            _detach()
        else:
            output.note(said)
        if args.pidfile:
            _write_pid(args.pidfile)
        if args.status_fd is not None:
            os.write(args.status_fd, b"\0")
            os.close(args.status_fd)
        try:
            received = server.serve(output.listen, cancel)
        except LaminaError as error:
            if args.daemon:
                log.error("%s", error)
            raise
    output.result({field.name: getattr(received, field.name) for field in fields(received)}, _summary(received))
    return 0


def _summary(received: Received) -> str:
    rate = size(received.pages_received * PAGE / max(received.elapsed_us, 1) * 1e6)
    again = received.pages_received - received.pages
    twice = f", {again:,} of them more than once" if again > 0 else ""
    freed = f"; {size(received.bytes_freed)} taken out of the ancestors" if received.bytes_freed else ""
    return f"{received.images_dir}: {pages(received.pages)} from {received.peer}{twice}, {duration(received.elapsed_us)}, {rate}/s{freed}"


def _require_open(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError as error:
        raise UsageError("page-server", "", f"descriptor {fd} of --status-fd is not open") from error


def _write_pid(path: Path) -> None:
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise LaminaError("cannot write", str(path), os.strerror(error.errno or 0)) from error


def _detach() -> None:
    """Leave the terminal; errors go to the log from here on."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)


def server_of(args: argparse.Namespace) -> Server | None:
    """The page server that a dump sends to, or None.

    Raises:
        UsageError: options that belong together are not.
    """
    if not args.page_server:
        given = [name for name in ("address", "port") if getattr(args, name) is not None]
        if given or args.tls:
            raise UsageError(args.verb, "", f"--{(given or ['tls'])[0]} means nothing without --page-server")
        return None
    if not args.port:
        raise UsageError(args.verb, "", "which port does the page server listen at?", "give --port")
    return Server(Address(args.address or "127.0.0.1", args.port), args.wire, _tls(args), args.timeout)


def destination_of(args: argparse.Namespace, output: Output) -> PageServerPages | None:
    """Where the pages of a dump go; None for files. Layers that were sent and not answered for are settled first."""
    server = server_of(args)
    if server is None:
        return None
    if args.auto_dedup:
        output.note("--auto-dedup has no effect here: give it to the page server, which has the pages")
        args.auto_dedup = False
    if args.images_dir.is_dir():
        try:
            settle(args.images_dir, server)
        except TransferError as error:
            output.note(f"what became of earlier layers of this stack is not known: {error}")
    return PageServerPages(server)


def _tls(args: argparse.Namespace) -> Tls | None:
    if not args.tls:
        given = [name for name in _TLS if getattr(args, name)]
        if given:
            raise UsageError(args.verb, "", f"--{given[0].replace('_', '-')} means nothing without --tls")
        return None
    crl = args.tls_cacrl or (CACRL if CACRL.exists() else None)
    return Tls(args.tls_cert or CERT, args.tls_key or KEY, args.tls_cacert or CACERT, crl, not args.tls_no_cn_verify)
