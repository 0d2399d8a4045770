"""Two lines at the top of every screen: lamina, the screen and the target; the stack directory and its free space."""

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.widget import Widget

from lamina.tui import paths
from lamina.tui.model import units
from lamina.tui.model.session import Session
from lamina.tui.theme import WARM


class TitleBar(Widget):
    """The header."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where
        self._session = Session()
        self.aside = ""
        self._timed = ""

    def show(self, session: Session) -> None:
        """Repaint for a new state of the session."""
        self._session = session
        self.refresh()

    def show_timed(self, text: str) -> None:
        """When the next of the target's timed layers comes; "" if there are none."""
        if text != self._timed:
            self._timed = text
            self.refresh()

    def render(self) -> Group:
        """Left: what; right: how much."""
        first = self._first_line()
        fits = first.cell_len + len(self.aside) + 3 < self.size.width
        above = _line(first, Text(self.aside if fits else "", style="dim"))
        left, right = self._second_line()
        if self._timed:
            right = Text(self._timed, style="bold")
        elif left.cell_len + right.cell_len + 3 > self.size.width:
            right = Text()
        return Group(above, _line(left, right))

    def _first_line(self) -> Text:
        line = Text(" lamina", style="bold")
        line.append(f" · {self._where}", style="not bold")
        if self._session.readonly:
            line.append(" · read only")
        target = self._session.target
        if target is None:
            return line.append(" · no target", style="not bold dim")
        line.append(" · ", style="not bold")
        line.append(f"{target.name} {target.pid}", style="bold")
        if not target.alive:
            return line.append(" · has ended; r on a layer brings it back", style="not bold")
        if target.why_untracked:
            line.append(" · tracking lost", style=f"not bold {WARM}")
        else:
            line.append(f" · {target.tracker or 'not tracked'}", style="not bold" if target.tracker else "not bold dim")
        layer = f" · on layer {target.layer.name}" if target.layer else " · on no layer"
        return line.append(layer, style="not bold" if target.layer else "not bold dim")

    def _second_line(self) -> tuple[Text, Text]:
        place, stack = self._session.stack_dir, self._session.stack
        if place is None:
            return Text(" choose a process; its layers get a stack of their own", style="dim"), Text("")
        left = Text(" stack ", style="dim")
        room = max(14, self.size.width - 66)
        left.append(paths.short_path(place, room), style="not dim")
        if stack is not None and stack.path == place:
            noun = "layer" if len(stack.rows) == 1 else "layers"
            left.append(f" · {len(stack.rows)} {noun}")
            if stack.rows:
                left.append(f" · {units.size(stack.disk_bytes)} on disk, {units.size(stack.logical_bytes)} logical")
            if stack.trash:
                left.append(f" · {len(stack.trash)} in the trash", style="dim")
            return left, Text("an archive" if stack.archive else f"{units.size(stack.free)} free", style="dim")
        return left, Text("")


def _line(left: Text, right: Text) -> Table:
    """One line. *left* is cut if it does not fit."""
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, right)
    return grid
