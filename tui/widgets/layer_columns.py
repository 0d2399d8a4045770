"""The columns of a stack's layers."""

from collections.abc import Callable

from lamina.tui import units
from lamina.tui.read_stack import LayerRow
from lamina.tui.widgets.row_list import Cell, Column


def layer_columns(stands_on: Callable[[LayerRow], bool]) -> list[Column[LayerRow]]:
    """The graph first; *stands_on* says which layer the target stands on."""
    return [
        Column("LAYER", 10, lambda row: _name(row, stands_on(row))),
        Column("TIME", 8, lambda row: [(units.clock(row.time)[-8:] if row.time else "·", "dim")], keep=48),
        Column("PAGES", 8, _pages, right=True),
        Column("SIZE", 8, lambda row: [(units.size(row.disk_bytes), "")], right=True),
        Column("FROZEN", 8, lambda row: [(units.duration(row.frozen_us) if row.frozen_us else "·", "")], right=True, keep=38),
        Column("OK", 2, lambda row: [("✓", "good") if row.restorable else ("✗", "danger")]),
        Column("", 0, _remark),
    ]


def _name(row: LayerRow, stands_on: bool) -> Cell:
    return [(row.lane, "dim"), (row.name, "bright" if stands_on else ""), (" ◂ now" if stands_on else "", "warm")]


def _pages(row: LayerRow) -> Cell:
    return [("+" if row.parent is not None else "", "dim"), (units.pages(row.own_pages), "")]


def _remark(row: LayerRow) -> Cell:
    if not row.restorable:
        return [(row.why, "danger")]
    return [(row.label, "dim")]
