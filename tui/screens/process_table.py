"""The table of screen 1: reads the processes and what is known of them, and shows the rows. Its keys are in `processes_screen`."""

import gc
import time
from collections.abc import Iterable, Mapping

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from lamina.core.attach.processes import ProcessInfo
from lamina.tui import messages
from lamina.tui.keys.keymap import PROCESS_LIST_KEYS
from lamina.tui.model.process_list import ProcessList
from lamina.tui.model.session import Session
from lamina.tui.model.tree import TreeRow
from lamina.tui.read.examining import Examiner
from lamina.tui.read.layer_status_reader import LayerStatusReader
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets import process_columns as columns
from lamina.tui.widgets.filter_line import FilterLine
from lamina.tui.widgets.process_columns import ProcessCell
from lamina.tui.widgets.process_detail import ProcessDetail
from lamina.tui.widgets.row_list import Column, RowList

# At most one part in so many of the time is spent on reading the table.
_REST = 10
# How long psutil is asked about new processes before its answers are shown.
_ASKING_S = 0.2
# How long processes are examined before the findings are shown.
_EXAMINING_S = 0.1


class ProcessRows(RowList[TreeRow]):
    """The rows. Enter is called otherwise than in other lists."""

    BINDINGS = PROCESS_LIST_KEYS


class ProcessTable(Frame):
    """The tree next to the details of one process."""

    def __init__(self) -> None:
        super().__init__()
        self._known = ProcessList()
        self._layer_status = LayerStatusReader()
        self._examiner = Examiner()
        self._columns: tuple[str, ...] = columns.DEFAULT
        self._paused = False
        self._settled = False
        self._marked: int | None = None
        self._read_at = 0.0
        # A process to go to that is not in the table yet.
        self._awaited: int | None = None
        self._detail = ProcessDetail()
        self._left = Vertical(id="left", classes="pane")
        self._filter_line = FilterLine()
        self._list = ProcessRows(self._list_columns(), lambda row: row.pid, id="processes")
        self._list.empty_text = "reading the process table …"
        self._list.record = lambda row: self._known.by_pid[row.pid]

    def _list_columns(self) -> list[Column[TreeRow]]:
        return columns.process_columns(self._columns, self._cell)

    def _cell(self, row: TreeRow) -> ProcessCell:
        target = self.lamina.session.target
        is_target = target is not None and target.pid == row.pid
        return ProcessCell(row, self._known.by_pid[row.pid], self._known, is_target, self._list.room("NAME"))

    def compose_body(self) -> Iterable[Widget]:
        """Tree and detail, side by side or one above the other."""
        with Horizontal(id="body"):
            with self._left:
                yield self._list
                yield self._filter_line
            yield self._detail

    def is_ready_for(self, key: str) -> bool:
        """Whether the table was read, and all that a filter searches. Before that Enter could take the wrong row."""
        processes = self._known.processes
        return bool(processes.rows) and (self._known.filter is None or not processes.unasked)

    def opened(self) -> None:
        """Read the table now and then."""
        self._list.focus()
        self._show_titles()
        self.read()
        self.set_interval(self.lamina.session.settings.refresh, self._refresh_table)

    def on_screen_resume(self) -> None:
        """Read again: what it shows is old when the user comes back."""
        if self._known.processes.rows:
            self._refresh_table()

    def go_to_process(self, pid: int) -> None:
        """Put the cursor on *pid*."""
        raise NotImplementedError

    # What is read

    def read(self) -> None:
        """Ask for the process table, unless the screen is not seen."""
        if self.is_attached and (self.is_current or not self._known.processes.rows):
            reader = self.lamina.reader.processes
            self.lamina.bridge.follow("processes", lambda: messages.ProcessesRead(reader.read()), to=self)

    def _refresh_table(self) -> None:
        if not self._paused and time.monotonic() - self._read_at >= _REST * self._known.processes.took:
            self.read()

    def on_processes_read(self, message: messages.ProcessesRead) -> None:
        """The table was read."""
        table, cursor = message.table, self._list.row
        self._read_at = time.monotonic()
        more = table.since == self._known.processes.since
        if more and not table.unasked and not self._settled:
            # Much of what is known of many processes lasts, and need not be searched for reference cycles again and again.
            self._settled = True
            gc.freeze()
        self._known.take(table, cursor.pid if cursor else None)
        self.title_bar.aside = f"load {table.load:.2f} · {len(table.rows):,} processes"
        self.title_bar.refresh()
        kept = more and self._known.filter is None and self._known.order is None
        if kept and all(row.pid in self._known.by_pid for row in self._list.rows):
            # The same processes with more known about them, unless one has ended meanwhile.
            self._list.refresh()
            self._show_detail()
        else:
            rows = self._known.rows()
            # A filter may find a process only now that its command line is known.
            self._arrange(rows, self._first_hit(rows) if more or not self._list.rows else None)
        if self._awaited in self._known.by_pid:
            self.go_to_process(self._awaited)
        if table.unasked:
            reader, first = self.lamina.reader.processes, {row.pid for row in self._list.visible_rows}
            self.lamina.bridge.follow("processes", lambda: messages.ProcessesRead(reader.read_on(first, _ASKING_S)), to=self)
        else:
            self._read_layer_status()
        self.when_at_rest(self._examine)

    def _read_layer_status(self) -> None:
        rows, busy = self._known.processes.rows, self.lamina.bridge.busy_with
        reader = self._layer_status
        self.lamina.bridge.follow(
            "layers of processes", lambda: messages.LayerStatusRead(reader.read(rows, busy.pid if busy else 0)), to=self
        )

    def on_layer_status_read(self, message: messages.LayerStatusRead) -> None:
        """It is known how much the tracked ones write."""
        self._known.layer_status = message.layer_status
        self._list.refresh()
        self._show_detail()

    def _examine(self) -> None:
        """Examine the process under the cursor, then the others on the screen, one small batch after the other."""
        cursor = self._list.row
        wanted = self._known.to_examine(cursor.pid if cursor else None, [row.pid for row in self._list.visible_rows], time.monotonic())
        rows = self._known.processes.rows
        if wanted:
            examine = self._examiner.examine
            self.lamina.bridge.follow("examine", lambda: messages.ProcessesExamined(examine(rows, wanted, _EXAMINING_S)), to=self)

    def on_processes_examined(self, message: messages.ProcessesExamined) -> None:
        """Some were examined."""
        if message.found:
            self._known.examined.update({it.process.pid: it for it in message.found})
            self._list.refresh()
            self._show_detail()
            self._examine()

    # What is shown

    def _first_hit(self, rows: list[TreeRow], typed: bool = False) -> int | None:
        """The row to go to for the filter: the first hit, unless the cursor is on one.

        While the filter is *typed*, a hit by name comes first: the command line of a terminal or a shell contains the name of what it
        started.
        """
        cursor, typed_filter = self._list.row, self._known.filter
        if typed_filter is None:
            return None
        hits = [row.pid for row in rows if row.hit]
        if typed:
            by_name = typed_filter.hits((pid, self._known.by_pid[pid].name.casefold()) for pid in hits if pid in self._known.by_pid)
            hits = [pid for pid in hits if pid in by_name] or hits
        return None if cursor is not None and cursor.pid in hits else next(iter(hits), None)

    def _arrange(self, rows: list[TreeRow], follow: int | None = None) -> None:
        known, following = self._known, self._known.following
        if follow is None and following is not None and all(row.pid != following for row in self._list.visible_rows):
            follow = following
        self._list.empty_text = f"no process matches {known.filter.line!r}" if known.filter else "no processes"
        self._list.show_rows(rows, follow, still=known.order is not None and following is None)
        self._show_titles()
        self._show_detail()

    def _show_titles(self) -> None:
        # Literally: names and filters are not markup.
        self._left.border_title = Content(self._known.title + (" · paused, Z goes on" if self._paused else ""))
        self._left.border_subtitle = Content(self._known.found)

    def _show_detail(self) -> None:
        process = self._process()
        examined = self._known.examination(process) if process else None
        pid = process.pid if process else 0
        self._detail.show(process, examined, self._known.layer_status.get(pid), self._known.terminals.get(pid))

    def show_terminals(self, terminals: Mapping[int, str]) -> None:
        """Mark the programs in terminals of lamina's: who shows each, in words, by pid."""
        if terminals != self._known.terminals:
            self._known.terminals = terminals
            self._list.refresh()
            self._show_detail()

    def _process(self) -> ProcessInfo | None:
        row = self._list.row
        return self._known.by_pid.get(row.pid) if row else None

    def session_changed(self, session: Session) -> None:
        """The target is marked in the tree."""
        target = session.target.pid if session.target else None
        if target != self._marked:
            self._marked = target
            self._list.refresh()

    @on(RowList.Moved)
    def _moved(self) -> None:
        row = self._list.row
        if self._known.following is not None and row is not None and row.pid != self._known.following:
            self._known.following = None
            self._show_titles()
        self._show_detail()
        self.when_at_rest(self._examine)

    @on(RowList.Scrolled)
    def _scrolled(self) -> None:
        self.when_at_rest(self._examine)
