"""The columns of a difference: areas with their pages and a bar, and what was added, removed or replaced."""

from lamina.tui.model import units
from lamina.tui.model.difference import ADDED, CHANGED, GONE, LOST, MAYBE, SAME, DiffArea, News
from lamina.tui.widgets.row_list import Cell, Column

_BAR = 12
# Which colour of a `RowList` a glyph has.
_COLOUR = {SAME: "dim", CHANGED: "warm", MAYBE: "warm", ADDED: "new", GONE: "danger", LOST: "danger"}
_SIGNS = {"+": "new", "-": "danger", "~": "warm"}


def area_columns() -> list[Column[DiffArea]]:
    """One row for each area. Zero is shown as a dot."""
    return [
        Column("AREA", 0, lambda row: [(row.name, ""), (f" {row.start:x}", "dim")]),
        Column("", 4, lambda row: [(row.perms, "dim")], keep=70),
        Column("CHANGED", 8, lambda row: _count(row.changed or row.maybe, "warm", "?" if row.maybe else ""), right=True),
        Column("NEW", 6, lambda row: _count(row.added, "new"), right=True),
        Column("GONE", 6, lambda row: _count(row.gone or row.lost, "danger", "" if row.gone else "?"), right=True),
        Column("SAME", 8, lambda row: _count(row.same, "dim"), right=True, keep=40),
        Column("", _BAR, lambda row: [(glyph * cells, _COLOUR[glyph]) for glyph, cells in row.bar(_BAR)], keep=56),
    ]


def news_columns() -> list[Column[News]]:
    """The sign, in its colour, and the text."""
    return [
        Column("", 1, lambda row: [(row.sign, _SIGNS.get(row.sign, ""))]),
        Column("TASKS, DESCRIPTORS, MAPPINGS", 0, lambda row: [(row.text, "")]),
    ]


def _count(number: int, colour: str, behind: str = "") -> Cell:
    return [(units.pages(number) + behind, colour)] if number else [("·", "dim")]
