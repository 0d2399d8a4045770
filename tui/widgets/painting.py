"""Cells by age of page as text, for places too small for a `MemoryMap`."""

from itertools import groupby

from rich.text import Text

from lamina.tui.theme import QUIET, WARM

AGE_COLOUR = {
    ".": QUIET, "·": QUIET, "░": "#3f6f9f", "▒": "#4f93bd", "▓": "#74bcd6", "█": "#c4eef5", "*": WARM,
}  # fmt: skip


def paint(cells: str, no_color: bool, width: int = 1) -> Text:
    """Glyphs in their colours, each *width* times. Colour alone tells the age of a full cell; without colour the shade does."""
    text = Text()
    for glyph, same in groupby(cells):
        shape = "█" if glyph in "░▒▓" and not no_color else glyph
        text.append(shape * len(list(same)) * width, style=AGE_COLOUR[glyph])
    return text
