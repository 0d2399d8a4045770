"""Values of a tree that know how people write them. In JSON they are what they are in the image: numbers, lists and strings."""

from collections.abc import Mapping
from typing import Any


class Number(int):
    """An integer with the text that people read, as in 0x3 (read write)."""

    text: str

    def __new__(cls, value: int, text: str) -> "Number":
        """*value*, shown as *text*."""
        made = super().__new__(cls, value)
        made.text = text
        return made


class Row(list[Any]):
    """A list that is shown in one line."""

    def __init__(self, values: list[Any], text: str) -> None:
        """*values*, shown as *text*."""
        super().__init__(values)
        self.text = text


class Bytes(str):
    """Bytes as hexadecimal digits; shown as a dump with the characters beside it."""

    __slots__ = ()


def bits(value: int, names: Mapping[int, str]) -> str:
    """The names of the bits that are set in *value*, and what has no name as a number: "read write 0x40"."""
    found = [name for bit, name in names.items() if value & bit == bit and bit]
    rest = value & ~sum(bit for bit in names if value & bit == bit)
    return " ".join(found + ([f"{rest:#x}"] if rest else []))


def with_names(written: str, names: str) -> str:
    """ "0x3 (read write)", or the number alone where nothing has a name."""
    return f"{written} ({names})" if names and names != written else written


def byte_size(count: float) -> str:
    """Bytes for eyes: "3.2 MiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
