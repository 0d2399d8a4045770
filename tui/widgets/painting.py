"""Cells by age of page as text, for places too small for a `MemoryMap`."""

from itertools import groupby

from rich.text import Text

from lamina.tui.theme import AGES, DIRTY, QUIET

AGE_COLOUR = {
    ".": QUIET, "·": QUIET, "░": AGES[0], "▒": AGES[1], "▓": AGES[2], "█": AGES[3], "*": DIRTY,
}  # fmt: skip


def paint(cells: str, shaded: bool, width: int = 1) -> Text:
    """Glyphs in their colours, each *width* times. Colour alone tells the age of a cell; where colours are few (*shaded*), the shade."""
    text = Text()
    for glyph, same in groupby(cells):
        shape = "█" if glyph in "░▒▓" and not shaded else glyph
        text.append(shape * len(list(same)) * width, style=AGE_COLOUR[glyph])
    return text
