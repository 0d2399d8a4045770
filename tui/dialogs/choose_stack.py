"""Opens another stack: also of a program that has ended, whose layers can still be put back."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import CHOOSE_STACK_KEYS
from lamina.tui.model import units
from lamina.tui.paths import typed_path
from lamina.tui.read.stacks import KnownStack, holds_layers, stack_at
from lamina.tui.widgets.row_list import Column, RowList


class ChooseStack(Question[Path | None]):
    """Answers with a stack directory."""

    BINDINGS: ClassVar = CHOOSE_STACK_KEYS

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
            box.border_subtitle = "Enter open · a another place · Esc back"
            yield self._list

    def on_mount(self) -> None:
        """Show them."""
        self._list.show_rows(self._stacks)
        self._list.focus()

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        self.dismiss(event.row.path)

    def action_elsewhere(self) -> None:
        """A directory or archive that lamina does not know."""

        def wrong(line: str) -> str:
            place = _place(line)
            return "" if holds_layers(place) else f"there is no layer in {place}"

        def answered(line: str | None) -> None:
            if line:
                self.dismiss(_place(line))

        self.app.push_screen(AskText("open which stack?", "a directory of layers, of criu too, or an archive", "", wrong), answered)


def _place(line: str) -> Path:
    return stack_at(typed_path(line))
