"""Screen 1: the process tree, and what prevents dumping the process under the cursor. Its keys are here, its rows in `process_table`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.widgets import Input

from lamina.tui.dialogs.columns import ChooseColumns
from lamina.tui.keys.keymap import PROCESS_KEYS
from lamina.tui.model.process_list import Order
from lamina.tui.model.subject import Subject
from lamina.tui.model.target import is_tracker
from lamina.tui.screens.process_table import ProcessTable
from lamina.tui.widgets import process_columns as columns
from lamina.tui.widgets.filter_line import FilterLine
from lamina.tui.widgets.row_list import RowList


class ProcessScreen(ProcessTable):
    """The process tree and its keys."""

    NAME = "processes"
    BINDINGS: ClassVar = PROCESS_KEYS
    USEFUL = ("track", "dump", "choose", "filter", "columns", "sort(1)", "fold", "follow")

    def subject(self) -> Subject | None:
        """The process under the cursor; None if there is no row."""
        process = self._process()
        if process is None:
            return None
        if process.protected:
            self.notify(f"lamina does not touch {process.name} {process.pid}: {process.protected}", severity="warning")
            return None
        target, option = self.lamina.session.target, self.lamina.session.stack_option
        known = target.stack if target and target.identity == process.identity else None
        return Subject(process.pid, process.name, is_tracker(process.tracker), option or known)

    @on(RowList.Chosen)
    def _chosen(self) -> None:
        """Show its terminal, if it runs in one of lamina's; else make it the target and show its memory."""
        process = self._process()
        if (process is None or not self.lamina.terminals.show_program(process.pid)) and self.subject() is not None:
            self.aim_at_cursor()
            self.lamina.action_show("target")

    def aim_at_cursor(self) -> None:
        """Make the process under the cursor the target."""
        process = self._process()
        if process is not None and not process.protected:
            self.lamina.reader.aim(process.pid)

    def go_to_process(self, pid: int) -> None:
        """Put the cursor on *pid*, whatever hides it. If it is not in the table yet, that happens after the next reading."""
        if pid not in self._known.by_pid:
            self._awaited = pid
            self.read()
            return
        self._awaited = None
        rows = self._known.reveal(pid)
        if self._known.filter is None:
            self._filter_line.clear()
        self._show_columns()
        self._arrange(rows, pid)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter itself a slash is a letter."""
        return not (action == "filter" and isinstance(self.focused, Input))

    def action_filter(self) -> None:
        """Type a filter; the rows follow each letter."""
        self._filter_line.open()

    @on(FilterLine.Typed)
    def _filtered(self, event: FilterLine.Typed) -> None:
        known = self._known
        known.set_filter(event.wanted)
        if not known.processes.rows:
            return
        rows = known.rows()
        self._arrange(rows, self._first_hit(rows, typed=True))

    @on(FilterLine.Left)
    def _filter_done(self) -> None:
        self._filter_line.display = False
        self.set_focus(self._list)

    def action_clear(self) -> None:
        """Undo one thing at a time: the filter, following, the order."""
        known = self._known
        if self._filter_line.display or known.filter is not None:
            self._filter_line.clear()
            self._filter_done()
        elif known.following is not None:
            known.following = None
            self._show_titles()
        elif known.order is not None:
            self._sort(None)

    def action_fold(self) -> None:
        """Fold or unfold what is below the cursor."""
        if self._list.row is not None and self._known.order is None:
            self._known.fold(self._list.row.pid)
            self._arrange(self._known.rows())

    def action_fold_all(self) -> None:
        """Fold everything, or unfold it."""
        cursor, known = self._list.row, self._known
        if cursor is not None and known.order is None:
            known.fold_all()
            rows = known.rows()
            self._arrange(rows, known.shown_for(cursor.pid, {row.pid for row in rows}))

    def action_follow(self) -> None:
        """Keep the row under the cursor at its line on the screen, wherever it moves in the list; or stop that."""
        if self._list.row is not None:
            self._known.following = None if self._known.following is not None else self._list.row.pid
            self._show_titles()

    def action_pause(self) -> None:
        """Stop reading the table, or go on. After an operation it is read all the same."""
        self._paused = not self._paused
        self._show_titles()
        if not self._paused:
            self.read()

    # Order and columns

    def _sort(self, order: Order | None) -> None:
        known, cursor = self._known, self._list.row
        known.order = order
        self._show_columns()
        rows, first = known.rows(), None
        if cursor is not None and rows:
            # Who sorts wants to see what comes first; who goes back to the tree wants to see where a process is in it.
            first = cursor.pid if order is None or known.following is not None else rows[0].pid
        self._arrange(rows, first)

    def action_sort(self, by: int) -> None:
        """Sort by the next column that can be sorted by; between the last and the first comes the tree."""
        orders = [order for name in self._columns if (order := columns.order_by(columns.ALL[name]))]
        self._sort(self._known.next_order(orders, by))

    def action_reverse(self) -> None:
        """Turn the order round."""
        if order := self._known.order:
            self._sort(replace(order, descending=not order.descending))

    @on(RowList.TitleClicked)
    def _title_clicked(self, event: RowList.TitleClicked) -> None:
        """Sort by it; again, the other way round; again, the tree."""
        order = columns.order_by(columns.ALL[event.title])
        if order is None:
            self.notify(f"{event.title} is known only for the rows in view: it cannot be sorted by", timeout=3)
        else:
            self._sort(self._known.order_after_click(order))

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns that are shown, by name."""
        return self._columns

    def show_columns(self, names: Sequence[str]) -> None:
        """Show the columns *names* of `process_columns.ALL`; unknown names are ignored."""
        self._columns = columns.chosen(names)
        self._show_columns()

    def _show_columns(self) -> None:
        order = self._known.order
        self._list.show_columns(self._list_columns(), (order.column, order.descending) if order else None)

    def action_columns(self) -> None:
        """Choose columns."""

        def answered(names: tuple[str, ...] | None) -> None:
            if names is not None and names != self._columns:
                self.show_columns(names)
                self.notify(":write keeps them for the next time", timeout=4)

        self.app.push_screen(ChooseColumns(self._columns), answered)
