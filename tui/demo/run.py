"""The demo: the app with a program that is its child, and whose images are removed at the end."""

import sys
from dataclasses import dataclass, replace
from functools import cached_property

from textual.message import Message

from lamina.tui.app.lamina import LaminaApp, run
from lamina.tui.demo.first_minute import FIRST_MINUTE
from lamina.tui.demo.host import Cells, DemoProgram
from lamina.tui.demo.read_cells import CellAges
from lamina.tui.demo.screens import DemoStackScreen, DemoTargetScreen
from lamina.tui.model.session import Session

_READ_S = 0.12


@dataclass
class CellsRead(Message):
    """The program's cells were read from its memory."""

    cells: Cells | None
    glyphs: dict[int, str]


class DemoApp(LaminaApp):
    """lamina with the demo program as its target."""

    FIRST = "target"
    GUIDE = ("demo", FIRST_MINUTE)

    def __init__(self, session: Session, program: DemoProgram) -> None:
        super().__init__(replace(session, stack_option=program.images))
        self.program = program
        self._ages = CellAges()

    @cached_property
    def stack(self) -> DemoStackScreen:
        """Layers and cells."""
        return DemoStackScreen()

    @cached_property
    def target_screen(self) -> DemoTargetScreen:
        """Memory and cells."""
        return DemoTargetScreen()

    @property
    def keeps_children(self) -> bool:
        """The restored program must end with lamina as the first one does."""
        return True

    async def on_mount(self) -> None:
        """Make the program the target, and keep reading its cells."""
        self.program.watch(self.reader.read_target)
        self.reader.aim(self.program.pid)
        self.set_interval(_READ_S, lambda: self.bridge.ask("cells", self._read))

    def _read(self) -> Message:
        cells = self.program.read()
        return CellsRead(cells, self._ages.read(cells, self.session.target) if cells else {})

    def on_cells_read(self, message: CellsRead) -> None:
        """To the screens."""
        for screen in (self.target_screen, self.stack):
            screen.cells.show(message.cells, message.glyphs)

    def restored(self, pid: int) -> None:
        """The program that was put back is our child now."""
        self.program.adopt(pid)
        super().restored(pid)


def run_demo(session: Session) -> int:
    """Start the program, open the screen on it, and leave nothing behind. Returns the exit code."""
    try:
        program = DemoProgram()
    except OSError as error:
        print(f"lamina: {error}", file=sys.stderr)
        return 1
    try:
        return run(DemoApp(session, program))
    finally:
        program.end()
