"""Cells of memory as text: in places too small for a `MemoryMap`, and in its legend."""

from itertools import groupby

from rich.text import Text

from lamina.tui.theme import AGES, DANGER, DIRTY, NEW, QUIET, SHARED, UNTRACKED

CELL_COLOUR = {
    ".": QUIET, "·": QUIET, "░": AGES[0], "▒": AGES[1], "▓": AGES[2], "█": AGES[3], "*": DIRTY, "+": NEW, "≈": SHARED, "╱": UNTRACKED,
    "!": DANGER, "?": DANGER, "=": QUIET, "~": DIRTY, "-": DANGER,
}  # fmt: skip


def paint(cells: str, shaded: bool, width: int = 1) -> Text:
    """Glyphs in their colours, each *width* times. The colour tells the age of a cell, or where colours are few (*shaded*) the shade."""
    text = Text()
    for glyph, same in groupby(cells):
        shape = "█" if glyph in "░▒▓" and not shaded else glyph
        text.append(shape * len(list(same)) * width, style=CELL_COLOUR[glyph])
    return text
