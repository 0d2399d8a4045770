"""mem, search, core: the memory of a task, of a layer through its parents or of a running process."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.cli.naming import find_layer
from lamina.core.cli.output import Output, duration, pages, size, table
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken

if TYPE_CHECKING:
    from lamina.core.inspect.memory_reader import Memory, Span
    from lamina.core.inspect.patterns import Pattern
    from lamina.core.inspect.search import Found, Hit

LIVE = "-"
_PAGE = 4096
_CHUNK = 1 << 20
_HEX_LINE, _TEXT_LINE = 16, 64
_SHOWN = 64
"""Bytes of a long hit that are shown."""


def mem(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina mem LAYER PID ADDR[:LEN]`."""
    if args.raw and output.json:
        raise UsageError("cannot write both", "--raw and --json")
    with _open(args, args.pid) as memory:
        address, length = args.address
        if length is None:  # one page, less where the area ends before
            area = memory.area_at(address)
            length = min(_PAGE, area.end - address) if area else 1
        memory.check(address, length)
        if args.raw:
            output.write(_chunks(memory, address, length))
        elif output.json:
            value = {"pid": args.pid, "address": address, "size": length, "spans": [*memory.spans(address, address + length)]}
            output.result(value | {"data": memory.read(address, length).hex()}, "")
        else:
            lines = _text_lines if args.text else _hex_lines
            output.write(f"{line}\n".encode("utf-8", "surrogateescape") for line in _dump(memory, address, length, lines))
    return 0


def _open(args: argparse.Namespace, pid: int) -> "Memory":
    from lamina.core.inspect.layer_memory import open_layer_memory
    from lamina.core.inspect.live_memory import open_live_memory

    return open_live_memory(pid) if args.layer == LIVE else open_layer_memory(find_layer(args), pid)


def _chunks(memory: "Memory", address: int, length: int) -> Iterator[bytes]:
    for at in range(address, address + length, _CHUNK):
        yield memory.read(at, min(_CHUNK, address + length - at))


def _heading(span: "Span") -> str:
    return f"# {span.start:x}-{span.end:x}  {span.owner}  {span.area.perms} {span.area.name or span.area.kind}"


def _dump(memory: "Memory", address: int, length: int, lines: Callable[[int, bytes], Iterable[str]]) -> Iterator[str]:
    """A heading where the owner or the area changes, and the lines of what follows."""
    for span in memory.spans(address, address + length):
        yield _heading(span)
        for at in range(span.start, span.end, _CHUNK):
            yield from lines(at, memory.read(at, min(_CHUNK, span.end - at)))


def _hex_lines(address: int, data: bytes) -> Iterator[str]:
    """As `hexdump -C` writes them: a line like the one before is an asterisk, however many there are."""
    last, same = b"", False
    for at in range(0, len(data), _HEX_LINE):
        line = data[at : at + _HEX_LINE]
        if line == last and at + _HEX_LINE < len(data):
            if not same:
                yield "*"
            same = True
            continue
        same, last = False, line
        yield f"{address + at:012x}  {line[:8].hex(' '):23}  {line[8:].hex(' '):23}  |{_printable(line)}|"


def _text_lines(address: int, data: bytes) -> Iterator[str]:
    """Text in UTF-8; what is none is a dot for each byte."""
    for at in range(0, len(data), _TEXT_LINE):
        yield f"{address + at:012x}  {_text(data[at : at + _TEXT_LINE])}"


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)


def _text(data: bytes) -> str:
    return "".join(c if c.isprintable() else "." for c in data.decode("utf-8", "surrogateescape"))


# -- search --------------------------------------------------------------------------------------------------------------------------


def search(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina search LAYER PATTERN`."""
    from lamina.core.inspect.areas import AreaFilter
    from lamina.core.inspect.layer_memory import open_layer_memory, tasks_with_memory
    from lamina.core.inspect.search import search as look

    pattern = _pattern(args)
    chosen = AreaFilter(tuple(args.area), args.prot, tuple(args.range))
    with ExitStack() as opened:
        if args.layer == LIVE:
            if not args.pid:
                raise UsageError("cannot search", "running processes", "none is named", "add --pid PID")
            memories = [opened.enter_context(_open(args, pid)) for pid in args.pid]
        else:
            layer = find_layer(args)
            memories = [opened.enter_context(open_layer_memory(layer, pid)) for pid in args.pid or tasks_with_memory(layer)]
        found = look(memories, pattern, chosen, args.limit, args.count, output.listen, cancel)
    value: dict[str, object] = {
        "count": found.count,
        "complete": found.complete,
        "searched_bytes": found.searched,
        "elapsed_us": found.elapsed_us,
    }
    if not args.count:
        value["hits"] = found.hits
    numbers = args.kind in ("hex", "int32", "int64", "float64")
    output.result(value, str(found.count) if args.count else "" if output.json else _hits(found, numbers))
    return 0


def _pattern(args: argparse.Namespace) -> "Pattern":
    from lamina.core.inspect import patterns

    text, align = args.pattern, args.align
    if args.kind == "regex":
        if align:
            raise UsageError("cannot search", text, "a regular expression is found at any address", "leave --align out")
        return patterns.regex_pattern(text)
    if args.kind in ("int32", "int64"):
        return patterns.int_pattern(text, 4 if args.kind == "int32" else 8, align)
    if args.kind == "float64":
        return patterns.float_pattern(text, align)
    return (patterns.hex_pattern if args.kind == "hex" else patterns.text_pattern)(text, align or 1)


def _hits(found: "Found", numbers: bool) -> str:
    rows = [
        (str(hit.pid), f"{hit.address:x}", str(hit.owner), f"{hit.area.perms} {hit.area.name or hit.area.kind}", _around(hit, numbers))
        for hit in found.hits
    ]
    seen = f"in {size(found.searched)}, {duration(found.elapsed_us)}"
    if not rows:
        return f"no hits {seen}"
    last = f"{found.count:,} hit{'' if found.count == 1 else 's'} {seen}"
    if not found.complete:
        last = f"the first {found.count:,} hits {seen}; --limit 0 finds all"
    return table(("PID", "ADDRESS", "OWNER", "AREA", "AROUND IT"), rows) + "\n" + last


def _around(hit: "Hit", numbers: bool) -> str:
    """What is before the hit, [it], and what is behind it."""
    begin = hit.address - hit.start
    it = hit.data[begin : begin + hit.size]
    parts = hit.data[:begin], it[:_SHOWN], hit.data[begin + hit.size :]
    more = "…" if len(it) > _SHOWN else ""
    before, inside, behind = (part.hex(" ") if numbers else _text(part) for part in parts)
    return f"{before} [{inside}{more}] {behind}".strip() if numbers else f"{before}[{inside}{more}]{behind}"


# -- core ----------------------------------------------------------------------------------------------------------------------------


def core(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina core LAYER PID [--output FILE]`."""
    from lamina.core.inspect.corefile import write_core

    if args.layer == LIVE:
        raise UsageError("cannot write a core file of", f"running process {args.pid}", "only of a layer", "dump it first, or use gcore")
    written = write_core(find_layer(args), args.pid, args.output or Path(f"core.{args.pid}"), output.listen, cancel)
    text = f"wrote {written.path}: {written.threads} thread{'' if written.threads == 1 else 's'}, {pages(written.data_bytes // _PAGE)}"
    output.result(written, f"{text} of memory, {size(written.disk_bytes)} on disk")
    return 0
