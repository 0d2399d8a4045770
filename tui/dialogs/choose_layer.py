"""Asks for one of several layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import CHOOSE_KEYS
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.widgets.row_list import Column, RowList


class ChooseLayer(Question[Path | None]):
    """Answers with the path of a layer, None for Escape."""

    BINDINGS: ClassVar = CHOOSE_KEYS

    def __init__(self, title: str, rows: Sequence[LayerRow], hint: str) -> None:
        """*title* is the question, *hint* what an answer means."""
        super().__init__()
        self._title, self._rows, self._hint = title, rows, hint
        self._list: RowList[LayerRow] = RowList(
            [
                Column("LAYER", 0, lambda row: [(row.name, ""), (f"  {row.label}" if row.label else "", "dim")]),
                Column("TIME", 12, lambda row: [(units.clock(row.time) if row.time else "", "dim")]),
                Column("PAGES", 9, lambda row: [(units.pages(row.own_pages), "")], right=True),
                Column("SIZE", 9, lambda row: [(units.size(row.disk_bytes), "")], right=True),
            ],
            lambda row: row.path,
            id="stacks",
        )

    def compose(self) -> ComposeResult:
        """A list in a box."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(self._title)  # names in it are no markup
            box.border_subtitle = f"{self._hint} · Enter choose · Esc back"
            yield self._list

    def on_mount(self) -> None:
        """Show them."""
        self._list.show_rows(self._rows)
        self._list.focus()

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        self.dismiss(event.row.path)
