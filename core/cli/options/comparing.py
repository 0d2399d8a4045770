"""Options of owners and diff."""

import argparse

from lamina.core.cli.options.common import Verb, Verbs, add, layer, pid, stack

VERBS: dict[str, Verb] = {
    "owners": ("comparing", "owners"),
    "diff": ("comparing", "diff"),
}


def page(text: str) -> tuple[int | None, int]:
    """[PID:]ADDR: a page of a task; ADDR is hexadecimal."""
    task, colon, address = text.rpartition(":")
    try:
        value = int(address, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"{address!r} is not a hexadecimal address")
    return (pid(task) if colon else None), value


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "owners", "which page of a layer comes from which layer of its chain")
    layer(parser)
    parser.add_argument("which", nargs="?", metavar="PID", help="one task only, or a shared object by its name: shmem-ID")
    parser.add_argument("--runs", action="store_true", help="every run of pages, with its owner and its place in the pages file")
    stack(parser)
    parser = add(verbs, "diff", "what differs between two layers, or between a layer and the running tree")
    layer(parser, "a", "LAYER")
    parser.add_argument("b", nargs="?", metavar="LAYER", help="the layer to compare it with")
    parser.add_argument("--live", type=pid, metavar="PID", help="compare it with the tree that runs at PID, which is not stopped")
    parser.add_argument("--map", dest="by_map", action="store_true", help="by maps alone: do not read pages that lie at different places")
    parser.add_argument("--pages", action="store_true", help="list the runs of pages that differ")
    parser.add_argument("--hex", type=page, metavar="[PID:]ADDR", help="show what differs in the page at ADDR, side by side")
    stack(parser)
