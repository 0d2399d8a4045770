"""The tree as text, for people."""

from collections.abc import Iterator
from typing import Any

from lamina.core.errors import printable
from lamina.core.image.show.tree import BYTES_PER_ROW, Tree, run_text
from lamina.core.image.show.values import Bytes, Number, Row, byte_size

WIDTH = 110
_AREA = {"start", "end", "prot", "status"}
_SAID = ("kind", "summary", "left_out", "bytes", "disk_bytes")


def as_overview(tree: Tree) -> str:
    """The files of a layer, a line each: name, size, and what is in it."""
    width = max((len(name) for name in tree), default=0)
    lines = []
    for name, shown in tree.items():
        size = byte_size(shown["bytes"]) if "bytes" in shown else ""
        said = shown.get("error") or ": ".join(filter(None, (_kind_word(name, shown), shown.get("summary", ""))))
        lines.append(f"{printable(name):<{width}}  {size:>10}  {printable(said)}".rstrip())
    return "\n".join(lines)


def as_text(tree: Tree) -> str:
    """Every field in it, as indented lines. Of a whole layer, each file under its name."""
    return "\n".join(_file(tree) if "kind" in tree and isinstance(tree["kind"], str) else _layer(tree))


def _kind_word(name: str, shown: Tree) -> str:
    """The kind, where the name of the file does not say it."""
    kind = str(shown["kind"])
    return "" if kind in ("raw", "link", "sidecar") or name.startswith(kind) else kind


def _layer(tree: Tree) -> Iterator[str]:
    for name, shown in tree.items():
        yield f"{printable(name)}:"
        for line in _file(shown):
            yield f"  {line}"


def _file(shown: Tree) -> Iterator[str]:
    size = f", {byte_size(shown['bytes'])}" if "bytes" in shown else ""
    yield printable(f"{shown['kind']}{size}" + (f": {shown['summary']}" if shown.get("summary") else ""))
    for key, value in shown.items():
        if key == "text":
            yield from (printable(line) for line in str(value).splitlines())
        elif key == "runs":
            yield from map(run_text, value["rows"])
        elif key not in _SAID:
            yield from _lines(value, 0, key)
    if left := shown.get("left_out"):
        yield f"… {left:,} more (--all shows them)"


def _lines(tree: Any, indent: int, name: str) -> Iterator[str]:
    pad = "  " * indent
    if isinstance(tree, Row):
        yield f"{pad}{name}: {tree.text}"
    elif isinstance(tree, Bytes):
        yield from _dump(tree, pad, name)
    elif isinstance(tree, dict):
        if one := _in_one_line(tree, len(pad) + len(name)):
            yield f"{pad}{name}: {one}"
            return
        yield f"{pad}{name}:"
        for key, value in tree.items():
            yield from _lines(value, indent + 1, key)
    elif isinstance(tree, list) and any(isinstance(item, (dict, list, Bytes)) for item in tree):
        for number, item in enumerate(tree):
            yield from _lines(item, indent, f"{name}[{number}]")
    elif isinstance(tree, list):
        yield f"{pad}{name}: {' '.join(map(_one, tree))}"
    else:
        yield f"{pad}{name}: {_one(tree)}"


def _in_one_line(tree: Tree, used: int) -> str:
    """A record of a few plain fields, or an area; "" if it needs more lines."""
    if not all(isinstance(value, (int, str, Row)) and not isinstance(value, Bytes) for value in tree.values()):
        return ""
    line = ", ".join(f"{key} {value.text if isinstance(value, Row) else _one(value)}" for key, value in tree.items())
    return line if used + len(line) <= WIDTH or tree.keys() >= _AREA else ""


def _dump(digits: Bytes, pad: str, name: str) -> Iterator[str]:
    """Hexadecimal with the characters beside it; short values in one line."""
    raw = bytes.fromhex(digits)
    if len(raw) <= BYTES_PER_ROW:
        yield f"{pad}{name}: {raw.hex(' ')}  {_characters(raw)}".rstrip()
        return
    yield f"{pad}{name}:"
    before, said = b"", False
    for at in range(0, len(raw), BYTES_PER_ROW):
        row = raw[at : at + BYTES_PER_ROW]
        if row == before and at + BYTES_PER_ROW < len(raw):  # as hexdump(1): the last row is always there
            if not said:
                yield f"{pad}  *"
            said = True
            continue
        yield f"{pad}  {at:06x}  {row.hex(' '):<47}  {_characters(row)}"
        before, said = row, False


def _characters(raw: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw)


def _one(value: Any) -> str:
    return value.text if isinstance(value, Number) else printable(str(value))
