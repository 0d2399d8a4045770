"""The columns of a stack's layers."""

import time
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.widgets.row_list import Cell, Column

_NARROWEST, _WIDEST = 7, 24


def layer_columns(
    stands_on: Callable[[LayerRow], bool], is_marked: Callable[[LayerRow], bool], rows: Sequence[LayerRow] = ()
) -> list[Column[LayerRow]]:
    """The graph comes first, as wide as *rows* need it. *stands_on* says whether the target is on a layer."""
    width = max((cell_len(row.lane) + cell_len(row.name) + 2 for row in rows), default=0)
    return [
        mark_column(is_marked),
        Column("LAYER", max(_NARROWEST, min(width, _WIDEST)), lambda row: _name(row, stands_on(row))),
        Column("TIME", 8, lambda row: [(_when(row), "dim")], drop=2),
        Column("PAGES", 8, _pages, right=True),
        Column("SIZE", 8, lambda row: [(units.size(row.disk_bytes), _quiet(row))], right=True),
        Column("FROZEN", 7, lambda row: [(units.duration(row.frozen_us) if row.frozen_us else "·", _quiet(row))], right=True, drop=1),
        Column("OK", 2, lambda row: [_verdict(row)]),
        Column("", 0, _note, least=12),
    ]


def mark_column(is_marked: Callable[[LayerRow], bool]) -> Column[LayerRow]:
    """A sign next to the layers that are marked for a comparison."""
    return Column("", 1, lambda row: [("◆" if is_marked(row) else "", "new")])


def _quiet(row: LayerRow) -> str:
    return "dim" if row.trashed else ""


def _name(row: LayerRow, stands_on: bool) -> Cell:
    return [(row.lane, "dim"), (row.name, "bright" if stands_on else _quiet(row)), (" ◂" if stands_on else "", "warm")]


def _when(row: LayerRow) -> str:
    """The clock of today; before that, how long ago."""
    if not row.time:
        return "·"
    if len(clock := units.clock(row.time)) == 8:
        return clock
    hours = max(1, round((time.time() - row.time) / 3600))
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} d ago"


def _pages(row: LayerRow) -> Cell:
    return [("+" if row.parent is not None else "", "dim"), (units.pages(row.own_pages), _quiet(row))]


def _verdict(row: LayerRow) -> tuple[str, str]:
    if row.trashed:
        return "·", "dim"
    if row.restorable:
        return "✓", "good"
    return ("–", "dim") if row.whole else ("✗", "danger")


def _note(row: LayerRow) -> Cell:
    """Why it cannot be restored, its label, and why it is pinned."""
    if row.trashed:
        return [("in the trash", "dim")]
    parts: list[tuple[str, str]] = []
    if not row.restorable:
        parts.append((row.why, "dim" if row.whole else "danger"))
    if row.label:
        parts.append((row.label, ""))
    if row.pinned:
        parts.append(("pinned", "dim"))
    return [piece for at, part in enumerate(parts) for piece in ((" · " if at else "", "dim"), part)]
