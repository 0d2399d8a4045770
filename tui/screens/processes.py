"""Screen 1: the process tree, and what stands in the way of dumping the process under the cursor."""

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Label

from lamina.core.attach.processes import ProcessInfo
from lamina.tui import messages
from lamina.tui.keymap import PROCESS_KEYS
from lamina.tui.model import tree
from lamina.tui.model.process_filter import parse_filter, searchable
from lamina.tui.model.session import Session
from lamina.tui.model.target import is_tracker
from lamina.tui.model.tree import TreeRow
from lamina.tui.read import process as read_process
from lamina.tui.read.process import Examined, Processes
from lamina.tui.screens.frame import Frame, Subject
from lamina.tui.widgets.process_columns import ProcessCell, process_columns
from lamina.tui.widgets.process_detail import ProcessDetail
from lamina.tui.widgets.row_list import RowList

_REFRESH_S = 2.0
# The parent of all kernel threads: some hundred rows that nobody can dump, so they start folded.
_KTHREADD = 2


def _look_at(process: ProcessInfo) -> messages.TargetExamined:
    return messages.TargetExamined(read_process.examine(process))


class ProcessScreen(Frame):
    """The tree beside the detail of one process."""

    WHERE = "processes"
    BINDINGS: ClassVar = PROCESS_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._processes = Processes()
        self._examined: dict[int, Examined] = {}
        self._folded: set[int] = {_KTHREADD}
        self._filter = ""
        self._detail = ProcessDetail()
        self._left = Vertical(id="left", classes="pane")
        self._input = Input(placeholder="name, command line or pid; ! turns it round", id="filter", compact=True)
        self._filter_line = Horizontal(id="filter-line")
        self._list: RowList[TreeRow] = RowList(process_columns(self._cell), lambda row: row.pid, id="processes")
        self._list.empty_text = "reading the process table …"

    def _cell(self, row: TreeRow) -> ProcessCell:
        process = self._processes.by_pid[row.pid]
        examined = self._examined.get(row.pid)
        if examined is not None and examined.identity.start_time != process.start_time:
            examined = None
        target = self.lamina.session.target
        return ProcessCell(row, process, examined, target is not None and target.pid == row.pid)

    def compose_body(self) -> Iterable[Widget]:
        """Tree and detail, side by side or one above the other."""
        with Horizontal(id="body"):
            with self._left:
                self._left.border_title = "tree"
                yield self._list
                with self._filter_line:
                    yield Label("/")
                    yield self._input
            yield self._detail

    def opened(self) -> None:
        """Read the table now and then."""
        self._filter_line.display = False
        self._list.focus()
        self.read()
        self.set_interval(_REFRESH_S, self.read)

    def read(self) -> None:
        """Ask for the process table, unless nobody sees it."""
        if self.is_attached and (self.is_current or not self._processes.rows):
            reader = self.lamina.reader.processes
            self.ask("processes", lambda: messages.ProcessesRead(reader.read()))

    def on_processes_read(self, message: messages.ProcessesRead) -> None:
        """The table was read."""
        processes = message.table
        self._processes = processes
        self._examined = {pid: seen for pid, seen in self._examined.items() if pid in processes.by_pid}
        self.title_bar.aside = f"load {processes.load:.2f} · {len(processes.rows):,} processes"
        self.title_bar.refresh()
        self._arrange()
        self.when_at_rest(self._examine)

    def on_target_examined(self, message: messages.TargetExamined) -> None:
        """A process was examined."""
        examined = message.examined
        self._examined[examined.identity.pid] = examined
        self._list.refresh()
        self._show_detail()

    def _arrange(self, follow: int | None = None) -> None:
        rows = self._processes.rows
        wanted = self._filter.strip()
        hits = None
        if wanted:
            found = parse_filter(wanted)
            hits = found.hits((p.pid, searchable(p.pid, p.name, p.cmdline)) for p in rows) if found else set()
            if follow is None and (self._list.row is None or self._list.row.pid not in hits):
                follow = min(hits, default=None)
        arranged = tree.arrange(rows, hits, self._folded)
        self._list.empty_text = f"no process matches {wanted!r}" if wanted else "no process to be seen"
        self._list.show_rows(arranged, follow)
        self._left.border_subtitle = f"{len(hits)} {'hit' if len(hits) == 1 else 'hits'} for /{wanted}" if hits is not None else ""
        self._show_detail()

    def subject(self) -> Subject | None:
        """The process under the cursor; while no row is there, none."""
        process = self._process()
        if process is None:
            return None
        if process.protected:
            self.notify(f"lamina does not touch {process.name} {process.pid}: {process.protected}", severity="warning")
            return None
        target, option = self.lamina.session.target, self.lamina.session.stack_option
        known = target.stack if target and target.identity == process.identity else None
        return Subject(process.pid, process.name, is_tracker(process.tracker), option or known)

    def _process(self) -> ProcessInfo | None:
        row = self._list.row
        return self._processes.by_pid.get(row.pid) if row else None

    def _show_detail(self) -> None:
        process = self._process()
        dirty = self.lamina.session.dirty
        self._detail.show(process, self._examined.get(process.pid) if process else None, dirty)

    def _examine(self) -> None:
        """Look at the process under the cursor, then at the others on the screen that nobody looked at yet."""
        process = self._process()
        wanted = [process] if process else []
        for row in self._list.visible_rows:
            other, seen = self._processes.by_pid[row.pid], self._examined.get(row.pid)
            if other is not process and (seen is None or seen.identity.start_time != other.start_time):
                wanted.append(other)
        self.ask("examine", *(partial(_look_at, one) for one in wanted if not one.protected))

    @on(RowList.Moved)
    def _moved(self) -> None:
        self._show_detail()
        self.when_at_rest(self._examine)

    @on(RowList.Chosen)
    def action_enter(self) -> None:
        """Make it the target and show its stack."""
        self.aim_at_cursor()
        self.app.switch_mode("stack")

    def aim_at_cursor(self) -> None:
        """Make the process under the cursor the target."""
        process = self._process()
        if process is not None and not process.protected:
            self.lamina.reader.aim(process.pid)

    def session_changed(self, session: Session) -> None:
        """The target is marked in the tree, and what it wrote is in its detail."""
        self._list.refresh()
        self._show_detail()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter itself a slash is a letter."""
        return not (action == "filter" and isinstance(self.focused, Input))

    def action_filter(self) -> None:
        """Type a filter; the tree follows each letter."""
        self._filter_line.display = True
        # Not `focus`, which comes later than the next letter.
        self.set_focus(self._input)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._filter = event.value
        if self._processes.rows:
            self._arrange()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._filter_line.display = False
        self.set_focus(self._list)

    def action_clear(self) -> None:
        """One step back: out of the filter, then the filter away."""
        self._input.value = ""
        self._filter_done()

    def action_fold(self) -> None:
        """Fold or unfold what is below the cursor."""
        if self._list.row is not None:
            self._folded ^= {self._list.row.pid}
            self._arrange()

    def action_follow(self) -> None:
        """Back to the target."""
        target = self.lamina.session.target
        if target is not None:
            self._arrange(follow=target.pid)

    def go_to_process(self, pid: int) -> None:
        """Put the cursor on *pid*."""
        self._arrange(follow=pid)
