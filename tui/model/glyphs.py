"""Replaces glyphs on a terminal that has only ASCII, one character by one, so that nothing moves.

On a map: `.` never touched, `:` as in its file, `,` old, `=` older than the parent, `%` of the parent, `#` of this layer, `*` dirty; where
two layers are compared `-` gone, `=` the same, `~` changed.
"""

from collections.abc import Mapping

from rich.cells import cell_len

_PAIRS = {
    "maps and their cursor": ("·░▒▓█◆≈╱", ":,=%##~/"),
    "graphs": ("▁▂▃▄▅▆▇", "_.-=+x%"),
    "bars": ("━╌╍╸╺", "=.===" ),
    "frames, lanes and trees": ("─│┌┐└┘├┤┬┴┼╭╮╰╯═║╔╗╚╝╠╣╦╩╬┃┏┓┗┛┣┫┳┻╋", "-|++`+|++++++++=|++++++++++|++++++++"),
    "edges that Textual draws": ("▎▏▌▊▍▋▉▐▕▔▀▖▗▘▝", "|||||||||-\"...."),
    "marks": ("✓✗●○◉◂▸▾▴▪■□▣▶◀▼▲↵⏎", "+xo.o<>v^####><v^<<"),
    "arrows": ("←→↑↓↔⇄", "<>^v=="),
    "letters": ("…⋯–—−‘’“”×µ°±½≤≥≠ \u202f", "~~---''\"\"xuo~~<>!  "),
}  # fmt: skip
TABLE: Mapping[int, str] = {ord(glyph): sign for glyphs, signs in _PAIRS.values() for glyph, sign in zip(glyphs, signs, strict=True)}


def to_ascii(text: str) -> str:
    """*text* in ASCII, of the same width. What has no replacement of its own becomes "?", one for each cell."""
    if text.isascii():
        return text
    return "".join(letter if letter.isascii() else "?" * cell_len(letter) for letter in text.translate(TABLE))


def ascii_only(environ: Mapping[str, str], coerced: bool) -> bool:
    """Whether the locale says that the terminal does not understand UTF-8. A locale that says nothing, as in containers, means UTF-8.

    Args:
        environ: the environment.
        coerced: Python has set LC_CTYPE itself (`sys.flags.utf8_mode`), because the locale was not UTF-8 or not set.
    """
    said = environ.get("LC_ALL") or (not coerced and environ.get("LC_CTYPE")) or environ.get("LANG")
    return bool(said) and "utf8" not in str(said).lower().replace("-", "")
