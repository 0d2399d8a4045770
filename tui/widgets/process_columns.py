"""The columns of the process tree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lamina.core.attach.processes import ProcessInfo
from lamina.tui.model import units
from lamina.tui.model.target import is_tracker
from lamina.tui.model.tree import TreeRow
from lamina.tui.read.process import Examined
from lamina.tui.widgets.row_list import Cell, Column

# In a deep tree the name matters more than its forefathers.
_DEEP = 15
_MARK_COLOUR = {"✓": "good", "!": "warn", "✗": "danger"}


@dataclass(frozen=True)
class ProcessCell:
    """What a row is drawn from."""

    row: TreeRow
    process: ProcessInfo
    examined: Examined | None
    is_target: bool


def process_columns(look: Callable[[TreeRow], ProcessCell]) -> list[Column[TreeRow]]:
    """PID, NAME as a tree, and the rest; *look* says what is known of a row."""

    def column(title: str, width: int, cell: Callable[[ProcessCell], Cell], right: bool = False, keep: int = 0) -> Column[TreeRow]:
        return Column(title, width, lambda row: cell(look(row)), right, keep)

    return [
        column("PID", 7, _pid, right=True),
        column("NAME", 0, _name),
        column("USER", 8, lambda c: [(c.process.user, _quiet(c, "dim"))], keep=68),
        column("RSS", 8, lambda c: [(units.size(c.process.rss) if c.process.rss else "·", _quiet(c))], right=True, keep=40),
        column("THR", 4, lambda c: [(str(c.process.threads), _quiet(c))], right=True, keep=52),
        column("LAYER", 5, _layer, right=True, keep=46),
        column("OK", 2, _mark),
    ]


def _quiet(cell: ProcessCell, otherwise: str = "") -> str:
    return "dim" if cell.process.protected or not cell.row.hit else otherwise


def _pid(cell: ProcessCell) -> Cell:
    return [(("▸" if cell.is_target else "") + str(cell.process.pid), "bright" if cell.is_target else _quiet(cell, "dim"))]


def _name(cell: ProcessCell) -> Cell:
    branch = cell.row.branch if len(cell.row.branch) <= _DEEP else "⋯" + cell.row.branch[-_DEEP + 1 :]
    pieces = [(branch, "dim"), (cell.process.name, "bright" if cell.is_target else _quiet(cell))]
    if cell.row.folded:
        pieces.append((f" +{cell.row.folded}", "dim"))
    if cell.process.state == "Z":
        pieces.append((" zombie", "dim"))
    return pieces


def _layer(cell: ProcessCell) -> Cell:
    process = cell.process
    name = Path(process.layer_dir).name if process.layer_dir else ""
    if is_tracker(process.tracker):
        return [(f"●{name}", "warm")]
    return [(name or "·", "" if name else "dim")]


def _mark(cell: ProcessCell) -> Cell:
    if cell.process.protected:
        return [("✗", "dim")]
    if cell.examined is None:
        return [("·", "dim")]
    return [(cell.examined.mark, _MARK_COLOUR[cell.examined.mark])]
