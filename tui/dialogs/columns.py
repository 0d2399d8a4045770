"""Asks which columns the process list shows, and in which order."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import COLUMNS_KEYS
from lamina.tui.widgets.process_columns import ALL, DEFAULT, chosen
from lamina.tui.widgets.row_list import Cell, Column, RowList


class ChooseColumns(Question[tuple[str, ...] | None]):
    """Answers with the names of the columns in their order, None for Escape."""

    BINDINGS = COLUMNS_KEYS

    def __init__(self, names: Sequence[str]) -> None:
        """*names* are shown now."""
        super().__init__()
        self._chosen = set(names)
        self._order = [*names, *(name for name in ALL if name not in names)]
        self._list: RowList[str] = RowList(
            [
                Column("", 3, self._box),
                Column("COLUMN", 9, lambda name: [(name, "bright" if name in self._chosen else "dim")]),
                Column("", 0, lambda name: [(ALL[name].about, "dim")]),
            ],
            lambda name: name,
            id="columns",
        )

    def compose(self) -> ComposeResult:
        """A list in a box."""
        with Vertical(id="dialog") as box:
            box.border_title = "columns"
            box.border_subtitle = "Space show or hide · < > move · 0 reset · Enter · Esc"
            yield self._list

    def on_mount(self) -> None:
        """Show them."""
        self._list.show_rows(self._order)
        self._list.focus()

    def _box(self, name: str) -> Cell:
        return [("[✓]", "good")] if name in self._chosen else [("[ ]", "dim")]

    def action_check(self) -> None:
        """Show the column under the cursor, or hide it. The name of the process stays."""
        name = self._list.row
        if name == "NAME":
            self.notify("without the name no row says what it is", severity="warning")
        elif name is not None:
            self._chosen ^= {name}
            self._list.refresh()

    def action_shift(self, by: int) -> None:
        """Move it to the left or to the right in the list of processes."""
        name = self._list.row
        if name is not None:
            at = self._order.index(name)
            self._order.insert(max(0, min(at + by, len(self._order) - 1)), self._order.pop(at))
            self._list.show_rows([*self._order], follow=name)

    def action_reset(self) -> None:
        """Choose the usual columns."""
        self._chosen = set(DEFAULT)
        self._order = [*DEFAULT, *(name for name in ALL if name not in DEFAULT)]
        self._list.show_rows([*self._order])

    @on(RowList.Chosen)
    def _done(self) -> None:
        self.dismiss(chosen(name for name in self._order if name in self._chosen))
