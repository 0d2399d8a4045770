"""The app: its screens and keys, and what operations lead to."""

import gc
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.await_complete import AwaitComplete
from textual.widget import AwaitMount

from lamina.tui import messages
from lamina.tui.app.settings_file import SettingApp
from lamina.tui.app.timed_layers import TICK_S
from lamina.tui.dialogs.choose_stack import ChooseStack
from lamina.tui.keys.keymap import APP_KEYS
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session
from lamina.tui.read.stacks import holds_layers
from lamina.tui.screens.jobs_screen import JobScreen
from lamina.tui.screens.processes_screen import ProcessScreen

if TYPE_CHECKING:
    from lamina.tui.model.compared import Compared
    from lamina.tui.read.page_bytes import MemorySource
    from lamina.tui.screens.diff_screen import DiffScreen
    from lamina.tui.screens.image_screen import ImageScreen
    from lamina.tui.screens.stack_screen import StackScreen
    from lamina.tui.screens.target_screen import TargetScreen
    from lamina.tui.screens.terminal_screen import TerminalScreen

_LOAD_AFTER_S = 0.4
# Operations after which the target and its stack look as before.
_CHANGES_NOTHING = {"plan", "core", "export"}
# Style sheets, by what they are about.
_STYLES = Path(__file__).parent.parent / "styles"


class LaminaApp(SettingApp):
    """lamina's text user interface."""

    TITLE = "lamina"
    CSS_PATH: ClassVar = [_STYLES / f"{sheet}.tcss" for sheet in ("frame", "rooms", "memory", "lists", "dialogs")]
    BINDINGS: ClassVar = APP_KEYS
    FIRST = "processes"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.first = self._first_screen()
        self.processes = ProcessScreen()
        self.jobs = JobScreen(self.logbook)
        self.add_mode("processes", lambda: self.processes)
        self.add_mode("target", lambda: self.target_screen)
        self.add_mode("stack", lambda: self.stack)
        self.add_mode("image", lambda: self.image)
        self.add_mode("diff", lambda: self.diff)
        self.add_mode("jobs", lambda: self.jobs)
        self.add_mode("terminal", lambda: self.terminal_screen)

    def _first_screen(self) -> str:
        """Who names a stack that is there came to look at it."""
        place = self.session.stack_option
        return "stack" if self.FIRST == "processes" and place is not None and holds_layers(place) else self.FIRST

    # The first screen must not wait for what the others need.

    @cached_property
    def stack(self) -> "StackScreen":
        """Screen 3."""
        from lamina.tui.screens.stack_screen import StackScreen

        return StackScreen()

    @cached_property
    def image(self) -> "ImageScreen":
        """Screen 4."""
        from lamina.tui.screens.image_screen import ImageScreen

        return ImageScreen()

    @cached_property
    def diff(self) -> "DiffScreen":
        """Where two layers, or a layer and what runs, are compared."""
        from lamina.tui.screens.diff_screen import DiffScreen

        return DiffScreen()

    @cached_property
    def target_screen(self) -> "TargetScreen":
        """Screen 2."""
        from lamina.tui.screens.target_screen import TargetScreen

        return TargetScreen()

    @cached_property
    def terminal_screen(self) -> "TerminalScreen":
        """Screen 6."""
        from lamina.tui.screens.terminal_screen import TerminalScreen

        return TerminalScreen()

    def columns_shown(self) -> tuple[str, ...]:
        """The columns of the processes."""
        return self.processes.column_names

    @property
    def keeps_children(self) -> bool:
        """Whether a restored program becomes lamina's own child; else it is left to init."""
        return False

    async def on_mount(self) -> None:
        """Open the first screen; leave properly when the terminal or the system asks."""
        self.obey_signals()
        if self.first_command:
            await self.start_program(self.first_command)
        elif self.first_terminal is not None:
            await self.switch_mode("terminal")
            self.find_terminals()
        else:
            await self.switch_mode(self.first)
        # Not while the first rows are read.
        self.set_timer(_LOAD_AFTER_S, lambda: self.bridge.ask("what other screens need", _load))
        self.set_timer(_LOAD_AFTER_S, self.find_terminals)
        self.set_interval(self.session.settings.refresh, self.find_terminals)
        if self.session.settings.columns:
            self.processes.show_columns(self.session.settings.columns)
        self.set_interval(self.session.settings.refresh, self.reader.read_target)
        self.set_interval(self.session.settings.refresh, self.reader.watch_stack)
        self.set_interval(1.0, self.reader.count_dirty)
        self.set_interval(TICK_S, self.timed.tick)

    # What operations lead to

    def begun(self, operation: Operation) -> None:
        """The process an operation is about is the target from now on."""
        if operation.pid and operation.kind not in ("restore", "timed"):
            self.reader.aim(operation.pid)

    def acted(self, operation: Operation, result: Any) -> None:
        """Ask on after a dry run; look again at what an operation changes."""
        if result is not None:
            self.ask_then(operation, result)
        if operation.kind == "restore" and result is not None and not self.holds(result.pid):
            self.restored(result.pid)
        if operation.kind not in _CHANGES_NOTHING:
            self.reader.read_target()
            self.reader.read_stack()
            self.processes.read()

    def restored(self, pid: int) -> None:
        """A program was put back: it is the target now."""
        self.reader.aim(pid)

    # What was read

    def terminals_known(self, terminals: Mapping[int, str]) -> None:
        """They have a mark in the list of processes."""
        self.processes.show_terminals(terminals)

    def on_stacks_found(self, message: messages.StacksFound) -> None:
        """Let the user choose one."""

        def ask() -> None:
            self.push_screen(ChooseStack(message.stacks), lambda path: self.open_stack(path) if path else None)

        self.type_ahead.come(self.reader.stacks_expected, "the list of stacks", ask)

    # Keys

    def show(self, mode: str) -> AwaitMount | AwaitComplete:
        """Go to a screen."""
        nothing = self.session.target is None and (mode == "target" or (mode == "stack" and self.session.stack_dir is None))
        if nothing and not self.reader.aimed_at and self.current_mode == "processes":
            self.processes.aim_at_cursor()
        if mode == "image" and self.current_mode != "image":
            self._choose_memory()
        return super().show(mode)

    def _choose_memory(self) -> None:
        """From the stack the layer under the cursor; from elsewhere, if nothing was chosen yet, the newest layer or what runs."""
        from lamina.tui.read.page_bytes import MemorySource

        stack, target, source = self.session.stack, self.session.target, None
        if self.current_mode == "stack":
            source = self.stack.memory_under_cursor()
        elif self.image.source is None and stack is not None and stack.newest is not None:
            source = MemorySource(stack.newest.pid, stack.newest.path)
        elif self.image.source is None and target is not None and target.alive:
            source = MemorySource(target.pid)
        if source is not None and source != self.image.source:
            self.image.look_at(source)

    def look_at_memory(self, source: "MemorySource", address: int | None = None) -> None:
        """The image screen, on *address* of some memory."""
        self.image.look_at(source, address)
        self.switch_mode("image")

    def show_difference(self, what: "Compared") -> None:
        """The diff screen, on two layers or a layer and what runs."""
        self.diff.compare(what)
        self.switch_mode("diff")

    def action_cancel_operation(self) -> None:
        """Ask the running operation to stop."""
        self.cancel()


def _load() -> None:
    import lamina.tui.screens.diff_screen
    import lamina.tui.screens.image_screen
    import lamina.tui.screens.stack_screen
    import lamina.tui.screens.target_screen
    import lamina.tui.screens.terminal_screen  # noqa: F401

    # It lasts as long as we do, and to look through it for cycles takes 60 ms, about once a second while much is painted.
    gc.freeze()
