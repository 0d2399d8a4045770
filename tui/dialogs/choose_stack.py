"""Opens another stack: also of a program that has ended, whose layers can still be put back."""

import time
from collections.abc import Sequence
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from lamina.tui.model import units
from lamina.tui.read.stacks import KnownStack
from lamina.tui.widgets.row_list import Column, RowList


class ChooseStack(ModalScreen[Path | None]):
    """Answers with a stack directory."""

    BINDINGS = [Binding("escape,q", "dismiss(None)", "back")]

    def __init__(self, stacks: Sequence[KnownStack]) -> None:
        super().__init__()
        self._stacks = stacks
        self._list: RowList[KnownStack] = RowList(
            [
                Column("STACK", 0, lambda stack: [(stack.path.name, "")]),
                Column("LAYERS", 6, lambda stack: [(str(stack.layers), "")], right=True),
                Column("LAST", 12, lambda stack: [(units.age(time.time() - stack.time) + " ago", "dim")], right=True),
            ],
            lambda stack: stack.path,
            id="stacks",
        )
        self._list.empty_text = "no stack here yet: 1, choose a process, d takes its first layer"

    def compose(self) -> ComposeResult:
        """A list in a box."""
        with Vertical(id="dialog") as box:
            box.border_title = "open a stack"
            box.border_subtitle = "Enter open · Esc back"
            yield self._list

    def on_mount(self) -> None:
        """Show them."""
        self._list.show_rows(self._stacks)
        self._list.focus()

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        self.dismiss(event.row.path)
