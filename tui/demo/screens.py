"""The demo's screens: the program's cells next to its memory, and next to its layers."""

from collections.abc import Iterable

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from lamina.tui.demo.cells import CellsPane
from lamina.tui.screens.stack_screen import StackScreen
from lamina.tui.screens.target_screen import TargetScreen


def _with_cells(body: Iterable[Widget], cells: CellsPane) -> Iterable[Widget]:
    with Horizontal(classes="demo-body"):
        with Vertical(classes="demo-left"):
            yield from body
        yield cells


class DemoTargetScreen(TargetScreen):
    """Memory and cells."""

    ONE_BY_ONE = False

    def __init__(self) -> None:
        super().__init__()
        self.cells = CellsPane()

    def compose_body(self) -> Iterable[Widget]:
        """Cells to the right."""
        yield from _with_cells(super().compose_body(), self.cells)


class DemoStackScreen(StackScreen):
    """Layers and cells."""

    ONE_BY_ONE = False

    def __init__(self) -> None:
        super().__init__()
        self.cells = CellsPane()

    def compose_body(self) -> Iterable[Widget]:
        """Cells to the right."""
        yield from _with_cells(super().compose_body(), self.cells)
