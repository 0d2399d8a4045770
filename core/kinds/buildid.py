"""The build id of an ELF file: which build of a program or library it is (NT_GNU_BUILD_ID in a PT_NOTE segment, elf(5))."""

import struct
from pathlib import Path
from typing import Final

# CRIU looks no further into a file, so a longer search would only record what it cannot compare.
_LIMIT: Final = 1 << 20
_PT_NOTE: Final = 4
_NT_GNU_BUILD_ID: Final = 3


def _notes(head: bytes) -> bytes:
    """The contents of all note segments of a 64-bit little-endian ELF file that lie within *head*."""
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return b""
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    found = b""
    for n in range(count if size >= 56 else 0):
        at = offset + n * size
        if at + size > len(head):
            break
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind == _PT_NOTE and start + length <= len(head):
            found += head[start : start + length]
    return found


def build_id_of(path: str) -> tuple[int, ...] | None:
    """The build id as CRIU records it: its bytes as little-endian words, the last one filled with zeros.

    Empty for a file that has none; None if the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
            if not head.startswith(b"\x7fELF"):
                return ()
            head += file.read(_LIMIT - len(head))
    except OSError:
        return None
    notes, at = _notes(head), 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        start = at + 12 + (name_size + 3 & ~3)
        value = notes[start : start + size]
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and len(value) == size:
            value += bytes(-size % 4)
            return struct.unpack(f"<{len(value) // 4}I", value)
        at = start + (size + 3 & ~3)
    return ()
