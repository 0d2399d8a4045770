"""What can be looked for in memory: text, a regular expression, bytes with wildcards, and numbers as the machine stores them."""

import re
import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.errors import UsageError

REGEX_REACH: Final = 64 << 10
"""The longest match of a regular expression that is surely found whole, bytes."""
_HEX_PAIR: Final = re.compile(r"[0-9a-f?]{2}")


@dataclass(frozen=True)
class Pattern:
    """What to look for: bytes under a mask, or a regular expression.

    Attributes:
        data, mask: of equal length; a bit of memory must be that of `data` where `mask` has one.
        align: addresses of hits are multiples of it.
        regex: looked for instead of `data`, if there is one.
    """

    data: bytes = b""
    mask: bytes = b""
    align: int = 1
    regex: re.Pattern[bytes] | None = None

    @property
    def reach(self) -> int:
        """How far from its first byte a hit can reach, bytes."""
        return REGEX_REACH if self.regex is not None else len(self.data)


def _fixed(data: bytes, align: int = 1) -> Pattern:
    if not data:
        raise UsageError("cannot search", "", "the pattern is empty")
    return Pattern(data, b"\xff" * len(data), align)


def text_pattern(text: str, align: int = 1) -> Pattern:
    """*text* in UTF-8; bytes that were not UTF-8 on the command line are taken as they are.

    Raises:
        UsageError: it is empty.
    """
    return _fixed(text.encode("utf-8", "surrogateescape"), align)


def regex_pattern(text: str) -> Pattern:
    """A regular expression of Python's `re` over bytes.

    Raises:
        UsageError: it is none, or is empty.
    """
    try:
        found = re.compile(text.encode("utf-8", "surrogateescape"))
    except (re.error, OverflowError) as error:
        raise UsageError("not a regular expression", repr(text), str(error)) from error
    if not text:
        raise UsageError("cannot search", "", "the pattern is empty")
    return Pattern(regex=found)


def hex_pattern(text: str, align: int = 1) -> Pattern:
    """Bytes in hexadecimal, with or without blanks between them; "??" is any byte, "4?" one that begins with 4: "de ad ?? ef".

    Raises:
        UsageError: something else is in it, or half a byte.
    """
    digits = "".join(text.lower().removeprefix("0x").split())
    if not digits or len(digits) % 2 or not all(_HEX_PAIR.fullmatch(digits[n : n + 2]) for n in range(0, len(digits), 2)):
        raise UsageError("not bytes in hexadecimal", repr(text), "write two digits or ?? for each byte", 'as in "de ad ?? ef"')
    mask = "".join("0" if digit == "?" else "f" for digit in digits)
    return Pattern(bytes.fromhex(digits.replace("?", "0")), bytes.fromhex(mask), align)


def int_pattern(text: str, size: int, align: int = 0) -> Pattern:
    """A whole number (decimal, or 0x…) of *size* bytes, signed or unsigned, little-endian, at multiples of *align* (0: of its size).

    Raises:
        UsageError: not a number, or too large.
    """
    try:
        value = int(text, 0)
    except ValueError:
        raise UsageError("not a whole number", repr(text)) from None
    if not -(1 << size * 8 - 1) <= value < 1 << size * 8:
        raise UsageError("cannot search", text, f"it does not fit into {size * 8} bits")
    return _fixed((value % (1 << size * 8)).to_bytes(size, "little"), align or size)


def float_pattern(text: str, align: int = 0) -> Pattern:
    """A number as a double (IEEE 754, little-endian), at multiples of *align* (0: of 8). Exactly that one: 0.1 finds no 0.1 + 1e-17.

    Raises:
        UsageError: not a number.
    """
    try:
        return _fixed(struct.pack("<d", float(text)), align or 8)
    except ValueError:
        raise UsageError("not a number", repr(text)) from None
