"""The columns of a stack's layers."""

from collections.abc import Callable

from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.widgets.row_list import Cell, Column


def layer_columns(stands_on: Callable[[LayerRow], bool]) -> list[Column[LayerRow]]:
    """The graph first; *stands_on* says which layer the target stands on."""
    return [
        Column("LAYER", 0, lambda row: _name(row, stands_on(row))),
        Column("TIME", 8, lambda row: [(units.clock(row.time)[-8:] if row.time else "·", "dim")], keep=50),
        Column("PAGES", 8, _pages, right=True),
        Column("SIZE", 8, lambda row: [(units.size(row.disk_bytes), "")], right=True),
        Column("FROZEN", 8, lambda row: [(units.duration(row.frozen_us) if row.frozen_us else "·", "")], right=True, keep=38),
        Column("OK", 2, lambda row: [("✓", "good") if row.restorable else ("✗", "danger")]),
    ]


def _name(row: LayerRow, stands_on: bool) -> Cell:
    remark = (f"  {row.label}", "dim") if row.restorable else (f"  {row.why}", "danger")
    return [(row.lane, "dim"), (row.name, "bright" if stands_on else ""), (" ◂" if stands_on else "", "warm"), remark]


def _pages(row: LayerRow) -> Cell:
    return [("+" if row.parent is not None else "", "dim"), (units.pages(row.own_pages), "")]


def mark_column(is_marked: Callable[[LayerRow], bool]) -> Column[LayerRow]:
    """A sign beside the layers that are marked for a comparison."""
    return Column("", 1, lambda row: [("◆" if is_marked(row) else "", "new")])
