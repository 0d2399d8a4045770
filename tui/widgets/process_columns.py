"""The columns of the process list: what each shows, how it sorts, and which is left out first when there is little room."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from lamina.core.attach.processes import ProcessInfo
from lamina.tui.model import units
from lamina.tui.model.process_list import ENDED, Order, ProcessList
from lamina.tui.model.target import is_tracker
from lamina.tui.model.tree import TreeRow
from lamina.tui.widgets.row_list import Cell, Column

# In a deep tree the name matters more than its ancestors: cells that they leave to it, and cells of each of them.
_NAME, _STEP = 12, 3
_MARK_COLOUR = {"✓": "good", "!": "warn", "✗": "danger"}
Key = Callable[[ProcessList, ProcessInfo], Any]


@dataclass(frozen=True)
class ProcessCell:
    """What a row is drawn from; *room*: how wide the column of the names is."""

    row: TreeRow
    process: ProcessInfo
    known: ProcessList
    is_target: bool
    room: int


@dataclass(frozen=True)
class ProcessColumn:
    """One column to choose.

    Attributes:
        name: its title, by which it is chosen.
        about: what it shows, in words.
        width: cells; 0 takes what is left.
        cell: what it shows of a process.
        key: what it sorts by; None if it cannot, because it is not known of all.
        number: aligned to the right, and sorted from the highest down.
    """

    name: str
    about: str
    width: int
    cell: Callable[[ProcessCell], Cell]
    key: Key | None
    number: bool = False


def order_by(column: ProcessColumn) -> Order | None:
    """The order that *column* sorts in at first; None if it cannot."""
    return Order(column.name, column.key, column.number and column.name not in _UPWARDS) if column.key is not None else None


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Those of *names* that are columns, each once, and always the name of the process."""
    wanted = tuple(dict.fromkeys(name for name in names if name in ALL))
    return wanted if "NAME" in wanted else (*wanted[:1], "NAME", *wanted[1:])


def process_columns(names: Sequence[str], cell_of: Callable[[TreeRow], ProcessCell]) -> list[Column[TreeRow]]:
    """The columns *names*; *cell_of* gives what is known of a row."""

    def column(of: ProcessColumn) -> Column[TreeRow]:
        drop = DROPS.index(of.name) + 1 if of.name in DROPS else 0
        return Column(of.name, of.width, lambda row: of.cell(cell_of(row)), of.number, drop=drop, least=_LEAST.get(of.name, 0))

    return [column(ALL[name]) for name in names]


@cache
def boot_time() -> float:
    """When the machine started, seconds since 1970."""
    return psutil.boot_time()


def started(process: ProcessInfo) -> float:
    """When it started, seconds since 1970."""
    return boot_time() + process.start_time / _ticks_a_second()


@cache
def _ticks_a_second() -> int:
    import os

    return os.sysconf("SC_CLK_TCK")


def _plain(c: ProcessCell, colour: str = "") -> str:
    return "dim" if c.process.protected or not c.row.hit else colour


def _text(of: Callable[[ProcessInfo], str], colour: str = "") -> Callable[[ProcessCell], Cell]:
    return lambda c: [(of(c.process) or "·", _plain(c, colour))]


def _pid(c: ProcessCell) -> Cell:
    return [(("▸" if c.is_target else "") + str(c.process.pid), "bright" if c.is_target else _plain(c, "dim"))]


def _name(c: ProcessCell) -> Cell:
    branch, most = c.row.branch, max(3, (c.room - _NAME) // _STEP) * _STEP
    if len(branch) > most:
        branch = "⋯".ljust(_STEP) + branch[_STEP - most :]
    gone = "ended " if c.process.protected == ENDED else "zombie " if c.process.state == "Z" else ""
    count = f" +{c.row.folded}" if c.row.folded else ""
    shown = c.known.terminals.get(c.process.pid)
    terminal = "" if shown is None else " ▣"
    name = (c.process.name, "bright" if c.is_target else _plain(c))
    return [(branch, "dim"), (gone, "danger"), name, (terminal, "dim" if shown else "warm"), (count, "dim")]


def _cpu(c: ProcessCell) -> Cell:
    share = c.known.processes.cpu.get(c.process.pid, 0.0)
    return [(f"{share:.1f}" if share >= 0.05 else "·", _plain(c) if share >= 0.05 else "dim")]


def _per_second(known: ProcessList, process: ProcessInfo) -> float | None:
    status = known.layer_status.get(process.pid)
    return status.per_second if status is not None and is_tracker(process.tracker) else None


def _dirty(c: ProcessCell) -> Cell:
    rate = _per_second(c.known, c.process)
    if rate is None:
        return [("…" if is_tracker(c.process.tracker) else "·", "dim")]
    return [(units.count(rate), "warm" if rate >= 0.5 else "dim")]


def _layers(c: ProcessCell) -> Cell:
    status = c.known.layer_status.get(c.process.pid)
    if not c.process.layer_dir or status is None:
        return [("·", "dim")]
    return [(str(status.layers), _plain(c))]


def _descriptors(c: ProcessCell) -> Cell:
    examined = c.known.examination(c.process)
    return [("·", "dim") if examined is None or examined.descriptors is None else (str(examined.descriptors), _plain(c))]


def _mark(c: ProcessCell) -> Cell:
    if c.process.protected:
        return [("✗", "dim")]
    examined = c.known.examination(c.process)
    return [("·", "dim") if examined is None else (examined.mark, _MARK_COLOUR[examined.mark])]


_COLUMNS = (
    ProcessColumn("PID", "number of the process", 8, _pid, lambda _, p: p.pid, number=True),
    ProcessColumn("NAME", "its name, in the tree", 0, _name, lambda _, p: p.name.casefold()),
    ProcessColumn("USER", "whose rights it has", 8, _text(lambda p: p.user, "dim"), lambda _, p: p.user),
    ProcessColumn("CPU%", "of one processor, since the last reading", 6, _cpu, lambda k, p: k.processes.cpu.get(p.pid, 0.0), number=True),
    ProcessColumn("RSS", "resident memory", 8, _text(lambda p: units.size(p.rss) if p.rss else ""), lambda _, p: p.rss, number=True),
    ProcessColumn(
        "VIRT", "address space", 8, _text(lambda p: units.size(p.virtual) if p.virtual else ""), lambda _, p: p.virtual, number=True
    ),
    ProcessColumn("THR", "threads", 4, _text(lambda p: str(p.threads)), lambda _, p: p.threads, number=True),
    ProcessColumn("FDS", "open descriptors, of the rows in view", 5, _descriptors, None, number=True),
    ProcessColumn(
        "DIRTY/s", "newly dirty pages per second, of those tracked", 8, _dirty, lambda k, p: _per_second(k, p) or 0.0, number=True
    ),
    ProcessColumn(
        "LAYERS",
        "layers in its stack",
        7,
        _layers,
        lambda k, p: k.layer_status[p.pid].layers if p.pid in k.layer_status else 0,
        number=True,
    ),
    ProcessColumn(
        "LAYER", "the layer it is on", 8, _text(lambda p: Path(p.layer_dir).name if p.layer_dir else ""), lambda _, p: p.layer_dir
    ),
    ProcessColumn(
        "TRACKER", "what tracks its memory", 14, _text(lambda p: p.tracker if is_tracker(p.tracker) else ""), lambda _, p: p.tracker
    ),
    ProcessColumn("S", "state: R runs, S sleeps, D disk, T stopped, Z zombie", 2, _text(lambda p: p.state), lambda _, p: p.state),
    ProcessColumn("PPID", "its parent", 7, _text(lambda p: str(p.ppid), "dim"), lambda _, p: p.ppid, number=True),
    ProcessColumn(
        "STARTED", "when it began", 12, _text(lambda p: units.clock(started(p), time.time()), "dim"), lambda _, p: p.start_time, number=True
    ),
    ProcessColumn("COMMAND", "its whole command line", 0, _text(lambda p: " ".join(p.cmdline), "dim"), lambda _, p: p.cmdline),
    ProcessColumn("OK", "can be dumped: ✓ as it is, ! with an option, ✗ not", 2, _mark, None),
)
ALL = {column.name: column for column in _COLUMNS}
DEFAULT = ("PID", "NAME", "RSS", "THR", "DIRTY/s", "LAYERS", "OK")
# When there is little room they are left out, the last one first; the others stay.
DROPS = ("RSS", "DIRTY/s", "LAYERS", "CPU%", "THR", "USER", "FDS", "S", "LAYER", "TRACKER", "STARTED", "PPID", "VIRT", "COMMAND")
_UPWARDS = ("PID", "PPID")
_LEAST = {"NAME": 16, "COMMAND": 20}
