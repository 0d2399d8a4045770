"""The bytes that a program on a terminal reads for keys (console_codes(4), XTerm control sequences)."""

_CURSOR = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
_PLAIN = {
    "enter": b"\r", "tab": b"\t", "shift+tab": b"\x1b[Z", "escape": b"\x1b", "backspace": b"\x7f", "ctrl+h": b"\x08",
    "insert": b"\x1b[2~", "delete": b"\x1b[3~", "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~", "space": b" ",
    "f1": b"\x1b[[A", "f2": b"\x1b[[B", "f3": b"\x1b[[C", "f4": b"\x1b[[D", "f5": b"\x1b[[E", "f6": b"\x1b[17~", "f7": b"\x1b[18~",
    "f8": b"\x1b[19~", "f9": b"\x1b[20~", "f10": b"\x1b[21~", "f11": b"\x1b[23~", "f12": b"\x1b[24~",
    "ctrl+space": b"\0", "ctrl+at": b"\0", "ctrl+backslash": b"\x1c", "ctrl+right_square_bracket": b"\x1d",
    "ctrl+left_square_bracket": b"\x1b", "ctrl+circumflex_accent": b"\x1e", "ctrl+underscore": b"\x1f", "ctrl+slash": b"\x1f",
}  # fmt: skip
_MODIFIERS = {"shift": 1, "alt": 2, "ctrl": 4}


def bytes_of(key: str, character: str | None, application: bool = False) -> bytes:
    """What the program reads for *key*, as Textual names it; *character* is what it prints, if anything. b"" if it has no bytes.

    *application*: cursor keys in their application form.
    """
    if key in _PLAIN:
        return _PLAIN[key]
    *modifiers, name = key.split("+") if key != "+" else [key]
    if name in _CURSOR:
        mask = sum(_MODIFIERS.get(modifier, 0) for modifier in modifiers)
        if mask:
            return f"\x1b[1;{mask + 1}{_CURSOR[name]}".encode()
        return f"\x1b{'O' if application else '['}{_CURSOR[name]}".encode()
    if "alt" in modifiers:
        rest = "+".join([*(modifier for modifier in modifiers if modifier != "alt"), name])
        return b"\x1b" + bytes_of(rest, character or (name if len(name) == 1 else None), application)
    if modifiers == ["ctrl"] and len(name) == 1 and name.isalpha():
        return bytes([ord(name.lower()) & 0x1F])
    if name in _PLAIN and not character:
        return _PLAIN[name]  # Shift or Ctrl with a key that has no form of its own for that
    return character.encode() if character else b""


def pasted(text: str, bracketed: bool) -> bytes:
    """What the program reads when *text* is pasted; *bracketed*: with marks at its beginning and end."""
    data = text.replace("\r\n", "\r").replace("\n", "\r").encode()
    return b"\x1b[200~" + data.replace(b"\x1b", b"") + b"\x1b[201~" if bracketed else data
