"""The columns of a `RowList`: what they show, and how they share the width there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Row = TypeVar("Row")
# Text and the name of a component class ("" for the row's own colour).
Cell = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        title: shown above it.
        width: cells; 0 for the columns that share what is left.
        cell: a row's text, in pieces with their colours.
        right: aligned to the right, for numbers.
        keep: the column is dropped while the list is narrower than this many cells.
        drop: while a column has less than its `least`, the one with the highest `drop` goes; 0 stays.
        least: cells that a column of width 0 should have at least.
    """

    title: str
    width: int
    cell: Callable[[Row], Cell]
    right: bool = False
    keep: int = 0
    drop: int = 0
    least: int = 0


def lay_out(columns: list[Column[Row]], width: int) -> list[tuple[Column[Row], int]]:
    """Those of *columns* that there is room for in *width* cells, with their widths."""
    while True:
        loose = [column for column in columns if not column.width]
        rest = width - sum(column.width + 1 for column in columns)
        first = max(columns, key=lambda column: column.drop, default=None)
        if first is None or not first.drop or rest >= sum(column.least for column in loose):
            break
        columns = [column for column in columns if column is not first]
    share, more = divmod(max(0, rest), len(loose) or 1)
    return [(column, column.width or share + (more if column is loose[0] else 0)) for column in columns]


def fit(cell: list[Segment], width: int, right: bool, base: Style) -> list[Segment]:
    """*cell* in just *width* cells: cut with an ellipsis, or filled in the style *base*."""
    length = sum(cell_len(segment.text) for segment in cell)
    if length > width:
        return [*Strip(cell).crop(0, max(0, width - 1)), Segment("…" if width else "", base)]
    pad = [Segment(" " * (width - length), base)]
    return pad + cell if right else cell + pad
