"""Options of the verbs that work on running trees, and of the page server to which a dump may send its pages."""

import argparse
from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, byte_count, count, images, seconds, stack, tree

VERBS: dict[str, Verb] = {
    "dump": ("dumping", "dump"),
    "pre-dump": ("dumping", "pre_dump"),
    "every": ("dumping", "every"),
    "restore": ("restoring", "restore"),
    "track": ("dumping", "track"),
    "untrack": ("dumping", "untrack"),
    "check": ("system", "check"),
    "ps": ("system", "ps"),
    "run": ("system", "run"),
    "attach": ("system", "run"),
    "page-server": ("transferring", "page_server"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    _dumps(verbs)
    _every(verbs)
    _restore(verbs)
    _run(verbs)
    _tracking(verbs)
    _system(verbs)
    _page_server(verbs)


def _dumps(verbs: Verbs) -> None:
    for name, text in (
        ("dump", "write a running tree as a layer"),
        ("pre-dump", "write its memory only: a parent for the next dump, not restorable by itself"),
    ):
        parser = add(verbs, name, text)
        tree(parser)
        images(parser)
        if name == "dump":
            parser.add_argument("-R", "--leave-running", action="store_true", help="let the tree run on after the dump")
        parser.add_argument("--track-mem", action="store_true", help="track writes from now on, for an incremental dump after this")
        parser.add_argument("--prev-images-dir", metavar="DIR", help="the parent layer, relative to the images directory")
        parser.add_argument("--auto-dedup", action="store_true", help="take out of the ancestors what this layer holds itself")
        parser.add_argument(
            "--paranoid", action="store_true", help="compare all memory inside the freeze with what the layer would hold: slow"
        )
        parser.add_argument("-j", "--shell-job", action="store_true", help="the tree belongs to a terminal session outside it")
        parser.add_argument("--label", default="", help="a name for the layer")
        _sending(parser)


def _every(verbs: Verbs) -> None:
    parser = add(verbs, "every", "take a layer of a running tree every so often, until it ends or you press Ctrl-C")
    parser.add_argument(
        "interval", nargs="?", type=seconds, metavar="TIME", help="a layer every 30s, 10m, 1h; without it only --dirtied counts"
    )
    tree(parser)
    parser.add_argument(
        "-D", "--stack-dir", dest="images_dir", type=Path, required=True, metavar="STACK", help="where the layers go: 1, 2, …"
    )
    parser.add_argument("--dirtied", type=byte_count, metavar="SIZE", help="a layer once so much was written since the last, as in 64M")
    parser.add_argument("--count", type=count, metavar="N", help="stop after N layers")
    parser.add_argument("--keep-last", type=count, metavar="N", help="of the layers it takes, remove all but the newest N for good")
    parser.add_argument("-j", "--shell-job", action="store_true", help="as in dump")


def _restore(verbs: Verbs) -> None:
    parser = add(verbs, "restore", "bring a layer back as a running tree")
    images(parser)
    parser.add_argument("-d", "--restore-detached", action="store_true", help="return at once; init becomes its parent")
    parser.add_argument("-j", "--shell-job", action="store_true", help="give it our session and terminal")
    parser.add_argument("--pidfile", type=Path, metavar="FILE", help="write the root's pid to FILE")
    parser.add_argument("--replace", action="store_true", help="end the running tree of the same pids first")
    parser.add_argument("--no-rescue", action="store_true", help="with --replace: do not dump the running tree before it is ended")
    parser.add_argument("--trust", action="store_true", help="accept images that belong to another user: they run with your rights")


def _run(verbs: Verbs) -> None:
    parser = add(verbs, "run", "open the TUI on a program in a terminal of lamina's own")
    stack(parser)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the program and its arguments, after --")
    parser = add(verbs, "attach", "open the TUI on a program that runs in a terminal of lamina's own; without one: list them")
    stack(parser)
    parser.add_argument("program", nargs="?", metavar="PID|NAME", help="the program, as the list has it")
    parser.add_argument("--take", action="store_true", help="even if another lamina shows it, which loses it")


def _tracking(verbs: Verbs) -> None:
    parser = add(verbs, "track", "start tracking a tree's writes")
    tree(parser)
    parser = add(verbs, "untrack", "end tracking; nothing of lamina stays in the tree")
    tree(parser)
    parser.add_argument("--force", action="store_true", help="also what a lamina that keeps its notes elsewhere began (another user's)")


def _system(verbs: Verbs) -> None:
    parser = add(verbs, "check", "what the kernel offers; with -t, what stands in the way of dumping a tree")
    tree(parser, required=False)
    parser.add_argument("-j", "--shell-job", action="store_true", help="as in dump")
    parser.add_argument("--stop", action="store_true", help="stop the tree for some ms, and ask from inside what a dump would ask")
    add(verbs, "ps", "the process tree, and what is tracked")


def _page_server(verbs: Verbs) -> None:
    parser = add(verbs, "page-server", "receive the pages of one dump, from lamina or criu, as a layer")
    images(parser)
    parser.add_argument("--address", metavar="ADDR", help="where to listen (default: 127.0.0.1, so for this machine only)")
    parser.add_argument("--port", type=_port, metavar="PORT", default=0, help="the port (default: any that is free, which is said)")
    parser.add_argument("--prev-images-dir", metavar="DIR", help="the layer that the sender's parent was received into, relative to DIR")
    parser.add_argument("--auto-dedup", action="store_true", help="afterwards take out of the ancestors all that no layer needs there")
    parser.add_argument("-d", "--daemon", action="store_true", help="go on in the background once it listens")
    parser.add_argument("--status-fd", type=count, metavar="FD", help="write one zero byte to this descriptor once it listens")
    parser.add_argument("--pidfile", type=Path, metavar="FILE", help="write its pid to FILE once it listens")
    _limits(parser)
    _tls(parser)


def _port(text: str) -> int:
    """A TCP port; 0 for any."""
    value = count(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return value


def _sending(parser: argparse.ArgumentParser) -> None:
    """Options of a dump that sends its pages."""
    parser.add_argument("--page-server", action="store_true", help="send the pages to a page server instead of writing them")
    parser.add_argument("--address", metavar="ADDR", help="where the page server is (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, metavar="PORT", help="its port")
    text = "bytes of a frame: 24 for criu up to 4.1.1, 32 for criu 4.2 (default); lamina takes both"
    parser.add_argument("--wire", type=int, choices=(24, 32), default=32, help=text)
    _limits(parser)
    _tls(parser)


def _limits(parser: argparse.ArgumentParser) -> None:
    text = "give up when the other side is silent for so long (default: 60s)"
    parser.add_argument("--timeout", type=seconds, default=60, metavar="TIME", help=text)


def _tls(parser: argparse.ArgumentParser) -> None:
    """TLS, with criu's names and places."""
    parser.add_argument("--tls", action="store_true", help="encrypt, and check who the other side is")
    parser.add_argument("--tls-cacert", type=Path, metavar="FILE", help="certificate of the authority (default: /etc/pki/CA/cacert.pem)")
    parser.add_argument("--tls-cacrl", type=Path, metavar="FILE", help="what the authority took back")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="one's own certificate (default: /etc/pki/criu/cert.pem)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (default: /etc/pki/criu/private/key.pem)")
    parser.add_argument("--tls-no-cn-verify", action="store_true", help="do not ask for the address in the server's certificate")
