"""Bytes read as numbers and as text: little-endian, as on x86-64 and arm64."""

import struct

_FORMATS = (("i8", "<b"), ("u8", "<B"), ("i16", "<h"), ("u16", "<H"), ("i32", "<i"), ("u32", "<I"), ("i64", "<q"), ("u64", "<Q"))
_FLOATS = (("f32", "<f"), ("f64", "<d"))


def values_at(data: bytes) -> list[tuple[str, str]]:
    """(type, value) for every type that *data* is long enough for; the unsigned only where they differ from the signed."""
    values: list[tuple[str, str]] = []
    for name, code in _FORMATS:
        if len(data) >= struct.calcsize(code):
            (number,) = struct.unpack_from(code, data)
            if name.startswith("i") or number != struct.unpack_from(code.lower(), data)[0]:
                values.append((name, f"{number:,}"))
    for name, code in _FLOATS:
        if len(data) >= struct.calcsize(code):
            values.append((name, f"{struct.unpack_from(code, data)[0]:.7g}"))
    return [*values, ("text", text_at(data))]


def text_at(data: bytes, limit: int = 48) -> str:
    """The string that begins there, up to its NUL, or "" if it does not begin like UTF-8 text."""
    raw = data[:limit].split(b"\0", 1)[0]
    text = raw.decode("utf-8", "replace")
    good = next((at for at, letter in enumerate(text) if letter == "�" or not (letter.isprintable() or letter in "\n\t")), len(text))
    return text[:good].replace("\n", "↵").replace("\t", "→")
