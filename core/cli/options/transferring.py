"""Options of the page server and of those who send to one."""

import argparse
from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, count, images, seconds

VERBS: dict[str, Verb] = {
    "page-server": ("transferring", "page_server"),
}


def port(text: str) -> int:
    """A TCP port; 0 for any."""
    value = count(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return value


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "page-server", "receive the pages of one dump, from lamina or criu, as a layer")
    images(parser)
    parser.add_argument("--address", metavar="ADDR", help="where to listen (default: 127.0.0.1, so for this machine only)")
    parser.add_argument("--port", type=port, metavar="PORT", default=0, help="the port (default: any that is free, which is said)")
    parser.add_argument("--prev-images-dir", metavar="DIR", help="the layer that the sender's parent was received into, relative to DIR")
    parser.add_argument("--auto-dedup", action="store_true", help="afterwards take out of the ancestors all that no layer needs there")
    parser.add_argument("-d", "--daemon", action="store_true", help="go on in the background once it listens")
    parser.add_argument("--status-fd", type=count, metavar="FD", help="write one zero byte to this descriptor once it listens")
    parser.add_argument("--pidfile", type=Path, metavar="FILE", help="write its pid to FILE once it listens")
    _limits(parser)
    tls(parser)


def sending(parser: argparse.ArgumentParser) -> None:
    """Options of a dump that sends its pages."""
    parser.add_argument("--page-server", action="store_true", help="send the pages to a page server instead of writing them")
    parser.add_argument("--address", metavar="ADDR", help="where the page server is (default: 127.0.0.1)")
    parser.add_argument("--port", type=port, metavar="PORT", help="its port")
    text = "bytes of a frame: 24 for criu up to 4.1.1, 32 for criu 4.2 (default); lamina takes both"
    parser.add_argument("--wire", type=int, choices=(24, 32), default=32, help=text)
    _limits(parser)
    tls(parser)


def _limits(parser: argparse.ArgumentParser) -> None:
    text = "give up when the other side is silent for so long (default: 60s)"
    parser.add_argument("--timeout", type=seconds, default=60, metavar="TIME", help=text)


def tls(parser: argparse.ArgumentParser) -> None:
    """TLS, with criu's names and places."""
    parser.add_argument("--tls", action="store_true", help="encrypt, and check who the other side is")
    parser.add_argument("--tls-cacert", type=Path, metavar="FILE", help="certificate of the authority (default: /etc/pki/CA/cacert.pem)")
    parser.add_argument("--tls-cacrl", type=Path, metavar="FILE", help="what the authority took back")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="one's own certificate (default: /etc/pki/criu/cert.pem)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (default: /etc/pki/criu/private/key.pem)")
    parser.add_argument("--tls-no-cn-verify", action="store_true", help="do not ask for the address in the server's certificate")
