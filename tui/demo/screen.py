"""The demo's stack screen: the program's cells beside the layers, and one line that says what to do next."""

from collections.abc import Iterable

from rich.text import Text
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

from lamina.tui.demo.host import Cells
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session
from lamina.tui.screens.stack import StackScreen
from lamina.tui.widgets.cells import CellsPane

_STEPS = (
    "d  takes the first layer: all of the program's memory",
    "watch the cells that change *, then d again: only those are written",
    "↓ to layer 1, then r: the program is back, its cells as they were",
    "it is back · d from here begins a branch · q leaves and ends the program",
)


class DemoScreen(StackScreen):
    """Layers and cells."""

    WHERE = "demo"

    def __init__(self) -> None:
        super().__init__()
        self.cells = CellsPane()
        self._guide_line = Static(id="guide")
        self._restored = 0

    def compose_body(self) -> Iterable[Widget]:
        """Cells to the right, the guide at the bottom."""
        with Horizontal(id="demo-body"):
            with Vertical(id="demo-left"):
                with self._left:
                    self._left.border_title = "layers"
                    yield self._list
                yield self._detail
            yield self.cells
        yield self._strip
        yield self._guide_line

    def opened(self) -> None:
        """The first step."""
        super().opened()
        self._guide(0)

    def show_cells(self, cells: Cells | None, glyphs: dict[int, str]) -> None:
        """The program's memory was read."""
        self.cells.show(cells, glyphs)

    def session_changed(self, session: Session) -> None:
        """The guide goes on with the layers."""
        super().session_changed(session)
        if session.stack is not None and not self._restored:
            self._guide(min(2, len(session.stack.rows)))

    def job_changed(self, job: Job | None) -> None:
        """The guide ends with a restore, and goes away with the act after it."""
        if job is not None and job.state == journal.DONE:
            if job.act.kind == "restore" and not self._restored:
                self._restored = id(job)
                self._guide(3)
            elif self._restored and id(job) != self._restored:
                self._guide_line.display = False

    def _guide(self, step: int) -> None:
        text = Text(f" {step + 1}/4  ", style="dim")
        text.append(_STEPS[step], style="bold not dim")
        self._guide_line.update(text)
