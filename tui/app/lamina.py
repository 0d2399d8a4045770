"""The app: its screens, its keys, and what operations lead to. The services under it are made in `lamina.tui.services.base_app`."""

import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.await_complete import AwaitComplete
from textual.command import Provider
from textual.screen import ModalScreen
from textual.widget import AwaitMount
from textual.widgets import Input

from lamina.core.errors import in_one_line
from lamina.tui import messages
from lamina.tui.app.appearance import ThemedApp
from lamina.tui.app.leaving import Leaving
from lamina.tui.app.settings_file import SettingsFile
from lamina.tui.dialogs.ask_save import ask_save
from lamina.tui.dialogs.choose_stack import ChooseStack
from lamina.tui.keys.actions import Action, action_elsewhere, perform
from lamina.tui.keys.keymap import APP_KEYS
from lamina.tui.model.guide import FIRST_START, Guide, Step
from lamina.tui.model.journal import Job
from lamina.tui.model.operation import Operation
from lamina.tui.model.own_commands import filled_in
from lamina.tui.model.session import Session
from lamina.tui.model.typed import words_of
from lamina.tui.read.stacks import holds_layers
from lamina.tui.screens.frame import Frame
from lamina.tui.screens.jobs_screen import JobScreen
from lamina.tui.screens.processes_screen import ProcessScreen
from lamina.tui.services.timed_layers import TICK_S
from lamina.tui.textual_private import ClosablePalette
from lamina.tui.widgets.views import copy_row

if TYPE_CHECKING:
    from lamina.tui.model.compared import Compared
    from lamina.tui.read.page_bytes import MemorySource
    from lamina.tui.screens.diff_screen import DiffScreen
    from lamina.tui.screens.image_screen import ImageScreen
    from lamina.tui.screens.stack_screen import StackScreen
    from lamina.tui.screens.target_screen import TargetScreen
    from lamina.tui.screens.terminal_screen import TerminalScreen
    from lamina.tui.terminal.holders import HeldTerminal

_LOAD_AFTER_S = 0.4
_NEXT_SCREEN_S = 0.005
# Operations that change neither the target nor its stack.
_CHANGES_NOTHING = {"plan", "core", "export"}
# Style sheets, by what they are about.
_STYLES = Path(__file__).parent.parent / "styles"


def _palette() -> type[Provider]:
    from lamina.tui.keys.palette import LaminaPalette

    return LaminaPalette


class LaminaApp(ThemedApp):
    """lamina's text user interface.

    Attributes:
        first_command: what `lamina run` was asked to run.
    """

    TITLE = "lamina"
    CSS_PATH: ClassVar = [_STYLES / f"{sheet}.tcss" for sheet in ("frame", "rooms", "memory", "lists", "dialogs")]
    BINDINGS: ClassVar = APP_KEYS
    COMMANDS: ClassVar = {_palette}
    FIRST = "processes"
    GUIDE: ClassVar[tuple[str, Sequence[Step]]] = ("first-start", FIRST_START)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.guide = Guide(*self.GUIDE)
        self.leaving = Leaving(self)
        self.settings_file = SettingsFile(self.current, self.bridge, self.notices, self.programs, self.type_ahead)
        self.first_command: Sequence[str] = ()
        self._program_before = ""
        self.queue.on_begin = self._begun
        self.queue.on_end = (self.terminals.over, self._ended, self.timed.over)
        self.terminals.ask_take_over = self._ask_take_over
        self.first = self._first_screen()
        self.processes = ProcessScreen()
        self.terminals.on_found = self.processes.show_terminals
        self.jobs = JobScreen(self.notices.log)
        self._screens: dict[str, Callable[[], Frame]] = {
            "processes": lambda: self.processes,
            "target": lambda: self.target_screen,
            "stack": lambda: self.stack,
            "image": lambda: self.image,
            "diff": lambda: self.diff,
            "jobs": lambda: self.jobs,
            "terminal": lambda: self.terminal_screen,
        }
        for mode, make in self._screens.items():
            self.add_mode(mode, make)
        for number, command in enumerate(session.settings.commands):
            self.bind(command.key, f"own_command({number})", description=command.name)

    def _first_screen(self) -> str:
        """The mode of the first screen: the stack, if one was named that has layers."""
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

    # -- from the beginning to the end -----------------------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        """Open the first screen, and read from now on what all screens show."""
        self.leaving.obey_signals()
        if self.first_command:
            await self.terminals.start(self.first_command)
        elif self.terminals.wanted is not None:
            await self.switch_mode("terminal")
            self.terminals.find()
        else:
            await self.switch_mode(self.first)
        # Not while the first rows are read.
        self.set_timer(_LOAD_AFTER_S, lambda: self.bridge.ask("what other screens need", _load))
        self.set_timer(_LOAD_AFTER_S, self.terminals.find)
        refresh = self.session.settings.refresh
        self.set_interval(refresh, self.terminals.find)
        if self.session.settings.columns:
            self.processes.show_columns(self.session.settings.columns)
        self.set_interval(refresh, self.reader.read_target)
        self.set_interval(refresh, self.reader.watch_stack)
        self.set_interval(1.0, self.reader.count_dirty)
        self.set_interval(TICK_S, self.timed.tick)
        self.queue.changed.subscribe(self, self._guide_on)
        self.current.changed.subscribe(self, self._guide_on)
        self.history.read()
        # Keys that came before wait for the first screen.
        self.type_ahead.start()

    async def on_unmount(self) -> None:
        """Let programs run on, and discard keys."""
        self.terminals.leave()
        await self.type_ahead.stop()

    def crashed(self, error: Exception) -> None:
        """The app ends because of a bug of ours."""
        self.leaving.crashed(error)

    def action_leave(self) -> None:
        """Leave; ask first while the engine works."""
        self.leaving.leave()

    async def action_quit(self) -> None:
        """Textual's own name for it."""
        self.leaving.leave()

    # -- what operations lead to -----------------------------------------------------------------------------------------------------

    def _begun(self, operation: Operation) -> None:
        """The process an operation is about is the target from now on."""
        if operation.pid and operation.kind not in ("restore", "timed"):
            self.reader.aim(operation.pid)

    def _ended(self, job: Job, result: Any) -> None:
        """Ask on after a dry run; read again what an operation changes."""
        operation = job.operation
        if result is not None:
            self.queue.ask_then(operation, result)
        if operation.kind == "restore" and result is not None and not self.terminals.holds(result.pid):
            self.restored(result.pid)
        if operation.kind not in _CHANGES_NOTHING:
            self.reader.read_target()
            self.reader.read_stack()
            self.processes.read()

    def _ask_take_over(self, held: "HeldTerminal", take: Callable[[], None]) -> None:
        from lamina.tui.dialogs.leave import take_over_dialog

        self.push_screen(take_over_dialog(held.label, held.lamina), lambda answer: take() if answer == "take" else None)

    def on_stacks_found(self, message: messages.StacksFound) -> None:
        """Let the user choose one."""

        def ask() -> None:
            self.push_screen(ChooseStack(message.stacks), lambda path: self.reader.open_stack(path) if path else None)

        self.type_ahead.come(self.reader.stacks_expected, "the list of stacks", ask)

    def on_settings_ready(self, message: messages.SettingsReady) -> None:
        """The file of settings can be opened."""
        self.settings_file.ready(message)

    def _guide_on(self, _changed: Job | Session | None = None) -> None:
        """The guide follows what is done and seen."""
        if self.guide.follow(self.session, self.journal):
            self.bridge.ask("guide", self.guide.remember)
        for screen in self.screen_stack:
            if isinstance(screen, Frame):
                screen.guide_line.show(self.guide)

    # -- from screen to screen -------------------------------------------------------------------------------------------------------

    def screens(self) -> Iterable[tuple[str, Frame]]:
        """All screens by their modes; those that were not shown yet are made, but not opened."""
        for mode, make in self._screens.items():
            yield mode, make()

    def program_screen(self) -> "TerminalScreen":
        """Screen 6."""
        return self.terminal_screen

    def delay_update(self, delay: float = 0.05) -> None:
        """Textual waits that long before it paints another screen, for parts that come late. Ours are there."""
        super().delay_update(min(delay, _NEXT_SCREEN_S))

    def switch_mode(self, mode: str) -> AwaitMount:
        """Go to a screen. What is asked on this one, as keys typed ahead may have it, is taken back: it would wait there unseen."""
        if mode != self.current_mode and isinstance(self.screen, ModalScreen):
            self.screen.dismiss()
        return super().switch_mode(mode)

    def show(self, mode: str) -> AwaitMount | AwaitComplete:
        """Go to a screen; the target or the memory it is about may be what is under the cursor here."""
        nothing = self.session.target is None and (mode == "target" or (mode == "stack" and self.session.stack_dir is None))
        if nothing and not self.reader.aimed_at and self.current_mode == "processes":
            self.processes.aim_at_cursor()
        if mode == "image" and self.current_mode != "image":
            self._choose_memory()
        return self.switch_mode(mode)

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

    def follow_layer(self, path: Path | None) -> None:
        """Put the cursor of the stack screen on the layer at *path* as soon as it is there."""
        self.stack.follow(path)

    def go_to_layer(self, name: str) -> None:
        """Put the cursor of the stack screen on layer *name*."""
        self.stack.go_to_layer(name)

    def go_to_process(self, pid: int) -> None:
        """Put the cursor of the process screen on *pid*."""
        self.processes.go_to_process(pid)

    def go_to_address(self, address: int) -> bool:
        """Put the cursor of the memory that is shown on *address*; False if it is not there."""
        from lamina.tui.widgets.hex_view import HexView
        from lamina.tui.widgets.memory_map import MemoryMap

        for shown in (*self.screen.query(MemoryMap), *self.screen.query(HexView)):
            if shown.display and shown.go_to(address):
                shown.focus()
                return True
        return False

    def show_waiting(self, text: str) -> None:
        """In the last line."""
        for screen in self.screen_stack[:1]:
            if isinstance(screen, Frame):
                screen.key_bar.say(text)

    def show_timed(self, text: str) -> None:
        """In the title."""
        for screen in self.screen_stack[-1:]:  # none while the app ends
            if isinstance(screen, Frame):
                screen.title_bar.show_timed(text)

    # -- keys ------------------------------------------------------------------------------------------------------------------------

    async def run_bindings(self, key: str, priority: bool = False) -> bool:
        """While a program has the keyboard, only keys behind the prefix are lamina's. One that is bound only on another screen says so.

        Whose a key is is decided here, where keys come by one after the other: one typed right behind the prefix must not be taken for
        the program's.
        """
        if priority and self.key_rules.program_has_keyboard:
            from lamina.tui.terminal.prefix import Whose

            screen = self.terminal_screen
            whose = screen.whose_key(key)
            if whose is Whose.LAMINA and not (await super().run_bindings(key, True) or await super().run_bindings(key)):
                screen.unknown_key(key)
            return whose is not Whose.PROGRAM
        done = await super().run_bindings(key, priority)
        if not done and not priority and isinstance(self.screen, Frame) and self.current_mode != "terminal":
            self._say_where(key)
        return done

    def _say_where(self, key: str) -> None:
        action = action_elsewhere(self, key)
        if action is not None:
            self.type_ahead.asks_for(action.call)
            text = f"{action.keys} {action.name.rstrip('…')} is a key of the {action.context} screen; ^p does it from anywhere"
            self.notices.toast(text, timeout=3)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where something is typed, a colon is a letter."""
        if action == "jump_line" and not parameters:
            return isinstance(self.screen, Frame) and not isinstance(self.focused, Input)
        return super().check_action(action, parameters)

    def action_jump_line(self, begun: str = "") -> None:
        """Type where to go; *begun* stands there already."""
        if isinstance(self.screen, Frame):
            self.screen.jump_line.open(begun)

    def action_command_palette(self) -> None:
        """Every action there is."""
        if isinstance(self.screen, Frame):
            self.push_screen(ClosablePalette(placeholder="an action, a screen, a layer, a theme …", id="--command-palette"))

    def action_help(self) -> None:
        """Every key: those of the focused pane first."""
        from lamina.tui.screens.help_screen import HelpScreen

        def chosen(action: Action | None) -> None:
            if action is not None:
                perform(self, action)

        if isinstance(self.screen, Frame):
            self.push_screen(HelpScreen(self), chosen)

    def action_new_program(self) -> None:
        """Ask for a command line and run it in a terminal."""
        if self.session.readonly:
            self.notify("no program is started: this lamina is read only", severity="warning")
            return
        from lamina.tui.dialogs.new_program import ask_command

        def answered(line: str | None) -> None:
            if line is not None:
                self._program_before = line
                self.call_next(self.terminals.start, words_of(line))

        self.push_screen(ask_command(self._program_before), answered)

    def action_own_command(self, number: int) -> None:
        """Run the user's command of that number, filled in for the target."""
        line = self.session.settings.commands[number].run
        if self.session.readonly:
            self.notify(f"{line}: not run, this lamina is read only", severity="warning")
            return
        try:
            self.programs.run(["sh", "-c", filled_in(line, self.session)])
        except KeyError as missing:
            self.notify(f"{line}: there is no {missing.args[0]}: press 1 and choose a process", severity="warning")

    def action_cancel_operation(self) -> None:
        """Ask the running operation to stop."""
        self.queue.cancel()

    def action_copy_row(self) -> None:
        """What the mouse marked, else the row under the cursor."""
        copy_row(self)

    def action_save_view(self) -> None:
        """Save what the focused pane shows, or a picture of the screen."""
        ask_save(self)

    def action_keep_appearance(self) -> None:
        """Keep theme and columns as they are now, in the file of settings."""
        self.settings_file.keep_appearance(self.theme, self.processes.column_names)

    def action_edit_settings(self) -> None:
        """Open the file of settings in the user's editor."""
        self.settings_file.edit()


def run(app: LaminaApp) -> int:
    """Run *app* on this terminal and say afterwards how it ended, if nobody asked for that. Returns the exit code."""
    app.run(mouse=app.session.settings.mouse)
    if app.leaving.last_words:
        print(in_one_line(app.leaving.last_words), file=sys.stderr)
    return app.return_code or 0


def _load() -> None:
    import lamina.tui.screens.diff_screen
    import lamina.tui.screens.image_screen
    import lamina.tui.screens.stack_screen
    import lamina.tui.screens.target_screen
    import lamina.tui.screens.terminal_screen  # noqa: F401

    # It lasts as long as we do, and searching it for reference cycles takes 60 ms, about once a second while much is painted.
    gc.freeze()
