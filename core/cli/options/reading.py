"""Options of the verbs that read: stacks, image files, memory, and what differs."""

import argparse
from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, layer, pid, stack

VERBS: dict[str, Verb] = {
    "stack": ("listing", "stack"),
    "show": ("listing", "show"),
    "mem": ("reading_memory", "mem"),
    "search": ("reading_memory", "search"),
    "core": ("reading_memory", "core"),
    "owners": ("comparing", "owners"),
    "diff": ("comparing", "diff"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    _stacks(verbs)
    _mem(verbs)
    _search(verbs)
    _core(verbs)
    _comparing(verbs)


def _stacks(verbs: Verbs) -> None:
    parser = add(verbs, "stack", "the layers under a directory")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser = add(verbs, "show", "the image files of a layer: a line each, or every field of one")
    parser.add_argument("path", type=Path, metavar="FILE|DIR|ARCHIVE")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--all", action="store_true", help="every field of every file, contents and maps in full (as --json has them)")
    amount.add_argument("--limit", type=int, metavar="N", help="at most N records, runs or rows of a content of each file")


def _hexadecimal(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address in hexadecimal")
    return value


def _address(text: str) -> tuple[int, int | None]:
    """ADDR or ADDR:LEN; LEN None if it is not given."""
    start, colon, length = text.partition(":")
    if not colon:
        return _hexadecimal(start), None
    if not length.isdecimal() or not 0 < int(length) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{length!r} is not a number of bytes, in decimal")
    return _hexadecimal(start), int(length)


def _range(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    if not dash or _hexadecimal(start) >= _hexadecimal(end):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range START-END of addresses in hexadecimal")
    return _hexadecimal(start), _hexadecimal(end)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return int(text)


def _layer_or_live(parser: argparse.ArgumentParser) -> None:
    text = "a layer: its directory or archive, or with --stack its name or label; or - for the process as it runs"
    parser.add_argument("layer", metavar="LAYER", help=text)
    stack(parser)


def _mem(verbs: Verbs) -> None:
    parser = add(verbs, "mem", "memory of a process, as a layer and its parents have it, or as it runs")
    _layer_or_live(parser)
    parser.add_argument("pid", type=pid, metavar="PID", help="a process of the layer")
    text = "where, in hexadecimal, and how many bytes, in decimal (default: one page)"
    parser.add_argument("address", type=_address, metavar="ADDR[:LEN]", help=text)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--text", action="store_true", help="as text in UTF-8 instead of hexadecimal")
    form.add_argument("--raw", action="store_true", help="the bytes themselves, and nothing else, on standard output")


def _search(verbs: Verbs) -> None:
    parser = add(verbs, "search", "find text, bytes or numbers in the memory of a layer, or of a process as it runs")
    _layer_or_live(parser)
    parser.add_argument("pattern", metavar="PATTERN", help="text in UTF-8, unless one of the following says otherwise")
    kinds = parser.add_mutually_exclusive_group()
    for name, text in (
        ("regex", "PATTERN is a regular expression (Python's re, over bytes)"),
        ("hex", 'PATTERN is bytes in hexadecimal, with ? for any digit: "de ad ?? ef"'),
        ("int32", "PATTERN is a whole number of 4 bytes"),
        ("int64", "PATTERN is a whole number of 8 bytes"),
        ("float64", "PATTERN is a double"),
    ):
        kinds.add_argument(f"--{name}", dest="kind", action="store_const", const=name, default="text", help=text)
    text = "only addresses that are multiples of N (default: of the size of a number; 1 for text and bytes)"
    parser.add_argument("--align", type=_number, default=0, metavar="N", help=text)
    parser.add_argument("--pid", type=pid, action="append", default=[], metavar="PID", help="only this process; may be repeated")
    text = "only heap, stack, anon, file, shared or vdso areas, or those with WORD in their name; may be repeated"
    parser.add_argument("--area", action="append", default=[], metavar="WORD", help=text)
    text = "only areas with these rights: rw is readable and writable, r-- in three letters is exactly that"
    parser.add_argument("--prot", default="", metavar="RIGHTS", help=text)
    text = "only these addresses, in hexadecimal, END exclusive; may be repeated"
    parser.add_argument("--range", type=_range, action="append", default=[], metavar="START-END", help=text)
    parser.add_argument("--limit", type=_number, default=1000, metavar="N", help="stop after N hits (default: 1000; 0 for all)")
    parser.add_argument("-c", "--count", action="store_true", help="say only how many hits there are")


def _core(verbs: Verbs) -> None:
    parser = add(verbs, "core", "write a core file of a process of a layer, as gdb opens it")
    layer(parser)
    parser.add_argument("pid", type=pid, metavar="PID", help="a process of the layer")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the core file, which must not exist (default: core.PID)")
    stack(parser)


def _page(text: str) -> tuple[int | None, int]:
    """[PID:]ADDR: a page of a task; ADDR is hexadecimal."""
    task, colon, address = text.rpartition(":")
    return (pid(task) if colon else None), _hexadecimal(address)


def _comparing(verbs: Verbs) -> None:
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
    parser.add_argument("--hex", type=_page, metavar="[PID:]ADDR", help="show what differs in the page at ADDR, side by side")
    stack(parser)
