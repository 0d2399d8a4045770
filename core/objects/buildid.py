"""The build id of an ELF file: which build of a program or library it is (NT_GNU_BUILD_ID in a PT_NOTE segment, elf(5))."""

import struct
from pathlib import Path
from typing import Final

# CRIU looks no further into a file, so a longer search would only record what it cannot compare.
_LIMIT: Final = 1 << 20
# Program headers and notes stand at the start of nearly every file.
_HEAD: Final = 4096
_PT_NOTE: Final = 4
_NT_GNU_BUILD_ID: Final = 3


def _note_spans(head: bytes) -> list[tuple[int, int]]:
    """Where the note segments of a 64-bit little-endian ELF file lie, as (offset, length)."""
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    found = []
    for n in range(count if size >= 56 else 0):
        at = offset + n * size
        if at + size > len(head):
            break
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind == _PT_NOTE and start + length <= _LIMIT:
            found.append((start, length))
    return found


def _build_id_in(notes: bytes) -> tuple[int, ...]:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name_size + 3 & ~3)
        value = notes[start : start + size]
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 12 + name_size] == b"GNU\0" and len(value) == size:
            value += bytes(-size % 4)
            return struct.unpack(f"<{len(value) // 4}I", value)
        at = start + (size + 3 & ~3)
    return ()


def build_id_of(path: str) -> tuple[int, ...] | None:
    """The build id as CRIU records it: its bytes as little-endian words, the last one filled with zeros.

    Empty for a file that has none; None if the file cannot be read.
    """
    try:
        # Unbuffered: this is done for every mapped file of a program, and a few hundred bytes of each are enough.
        with Path(path).open("rb", buffering=0) as file:
            head = file.read(_HEAD) or b""
            for start, length in _note_spans(head):
                if start + length > len(head):
                    file.seek(start)
                found = _build_id_in(head[start : start + length] if start + length <= len(head) else file.read(length) or b"")
                if found:
                    return found
    except OSError:
        return None
    return ()
