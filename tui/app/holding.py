"""The part of the app that holds programs, each in a terminal of lamina's own, for as long as lamina runs."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.signal import Signal

from lamina.tui import acts, messages
from lamina.tui.acts import Act
from lamina.tui.app.reading import ReadingApp
from lamina.tui.app.type_ahead import Typed
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session

if TYPE_CHECKING:
    from lamina.core.dump.request import Companion
    from lamina.tui.screens.terminal import TerminalScreen
    from lamina.tui.terminal.terminal import Terminal


class HoldingApp(ReadingApp):
    """An app in which programs run."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.terminals: list[Terminal] = []
        self.terminal: Terminal | None = None
        self.terminals_changed: Signal[Terminal] = Signal(self, "terminals_changed")
        # What is typed on screen 6 while a program is on its way there; None while none is.
        self.typed_ahead: bytearray | None = None
        self._awaited: Act | None = None
        # How many keys were pressed before it was asked for.
        self._typed_before = 0
        self._command_before = ""
        # What `lamina run` was asked for.
        self.first_command: Sequence[str] = ()

    @property
    def terminal_screen(self) -> "TerminalScreen":
        """Screen 6."""
        raise NotImplementedError

    # -- programs --------------------------------------------------------------------------------------------------------------------

    def action_new_program(self) -> None:
        """Ask for a command line and run it."""
        if self.session.readonly:
            self.notify("no program is started: this lamina is read only", severity="warning")
            return
        from lamina.tui.dialogs.new_program import ask_command, words_of

        def answered(line: str | None) -> None:
            if line is not None:
                self._command_before = line
                self.call_next(self.start_program, words_of(line))

        self.push_screen(ask_command(self._command_before), answered)

    async def start_program(self, command: Sequence[str]) -> None:
        """Run *command* in a terminal of its own. It is started once it is known how large that is."""
        self.typed_ahead = bytearray()
        await self.switch_mode("terminal")
        screen = self.terminal_screen
        screen.make_room()
        screen.call_after_refresh(lambda: self.bring(acts.run(command, screen.size_inside)))

    def bring(self, act: Act) -> bool:
        """Do *act*, which brings a program into a terminal: what is typed there meanwhile is for that program. False if it is not done."""
        typed, self.typed_ahead = self.typed_ahead, None
        if not self.do(act):
            self.terminal_screen.show_terminal()
            return False
        self._awaited, self.typed_ahead = act, typed or bytearray()
        self._typed_before = self.type_ahead.count
        return True

    def over(self, job: Job, result: Any) -> None:
        """A job came to its end: if it brought no program, nobody reads what was typed for it."""
        if job.act is self._awaited:
            self._awaited = self.typed_ahead = None
        super().over(job, result)

    def on_program_held(self, message: messages.ProgramHeld) -> None:
        """A program runs in a terminal of ours: show it."""
        from lamina.tui.terminal.terminal import Terminal

        held = message.held
        terminal = next((known for known in self.terminals if known.pid == held.pid), None)
        if terminal is None:
            terminal = Terminal(self.terminal_screen.size_inside, self.terminals_changed.publish)
            self.terminals.append(terminal)
        elif message.rescue is not None:
            self.bridge.ask("screen of the rescue layer", partial(_keep, message.rescue, terminal.last_screen()))
        self.terminal = terminal
        try:
            terminal.hold(held)
        except ValueError as error:
            self.notify(f"{held.name} {held.pid} runs, but its screen is lost: {error}", severity="warning")
        terminal.write(bytes(self.typed_ahead or b""))
        self._awaited = self.typed_ahead = None
        self.reader.aim(held.pid)
        if self.current_mode == "terminal" or self.type_ahead.count == self._typed_before:
            self.switch_mode("terminal")
        else:  # one types elsewhere meanwhile
            self.type_ahead.come(None, f"the terminal of {held.name} {held.pid}", lambda: self.switch_mode("terminal"))

    def holds(self, pid: int) -> bool:
        """Whether *pid* runs in a terminal of ours."""
        return any(terminal.pid == pid and terminal.alive for terminal in self.terminals)

    @property
    def terminal_number(self) -> tuple[int, int]:
        """Which one is shown, from 1, and how many there are."""
        return (self.terminals.index(self.terminal) + 1 if self.terminal in self.terminals else 0), len(self.terminals)

    def next_terminal(self, by: int) -> None:
        """Show the next program, or the one before; it is the target then."""
        if self.terminals:
            self.show_terminal(self.terminals[(self.terminal_number[0] - 1 + by) % len(self.terminals)])

    def forget_terminal(self) -> None:
        """The terminal that is shown goes; its program has ended."""
        number, _ = self.terminal_number
        gone = self.terminal
        if gone is not None and not gone.alive:
            self.terminals.remove(gone)
            self.terminal = None
            self.call_next(gone.close)
            if self.terminals:
                self.show_terminal(self.terminals[max(0, number - 2)])
            else:
                self.terminal_screen.show_terminal()

    def show_terminal(self, terminal: "Terminal") -> None:
        """Show *terminal*; its program is the target then."""
        self.terminal = terminal
        if terminal.alive:
            self.reader.aim(terminal.pid)
        elif terminal.stack is not None and terminal.stack != self.session.stack_dir:
            self.open_stack(terminal.stack)
        self.terminal_screen.show_terminal()

    def companion_of(self, pid: int) -> "Companion | None":
        """What keeps the screen of *pid* for its next layer; None if it is in no terminal of ours."""
        terminal = next((known for known in self.terminals if known.pid == pid and known.alive), None)
        return terminal.keeper() if terminal is not None else None

    # -- keys ------------------------------------------------------------------------------------------------------------------------

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """While a program has the keyboard, the keys of lamina and of Textual itself are off: Textual has no public way to say so.

        It is asked here, where all keys come by one after the other: one typed right behind the prefix must not be taken for the program's.
        """
        if not priority or not self.program_has_keyboard:
            return await super()._check_bindings(key, priority)
        from lamina.tui.terminal.prefix import Whose

        screen = self.terminal_screen
        whose = screen.whose_key(key)
        if whose is Whose.LAMINA and not (await super()._check_bindings(key, True) or await super()._check_bindings(key)):
            screen.unknown_key(key)
        return whose is not Whose.PROGRAM

    @property
    def program_has_keyboard(self) -> bool:
        """Whether a program reads what is typed, or one that is on its way will."""
        return self.current_mode == "terminal" and self.screen is self.terminal_screen and self.terminal_screen.takes_keys

    @property
    def program_left_at(self) -> float:
        """Since when (time.monotonic) the terminal is shown without a program; 0.0 if one reads there, or something else is shown."""
        shown = self.current_mode == "terminal" and self.screen is self.terminal_screen
        return self.terminal_screen.left_at if shown else 0.0

    def goes_to_program(self, event: Typed) -> bool:
        """A key behind the prefix is ours, and so is the mouse."""
        if not self.program_has_keyboard:
            return False
        return isinstance(event, events.Paste) or (isinstance(event, events.Key) and self.terminal_screen.is_for_program(event.key))

    # -- leaving ---------------------------------------------------------------------------------------------------------------------

    async def programs_may_end(self) -> bool:
        """Ask what is to become of the programs in our terminals, which end with them; False: stay."""
        from lamina.tui.dialogs.leave import leave_programs_dialog

        running = [terminal for terminal in self.terminals if terminal.alive]
        if not running:
            return True
        answer = await self.push_screen_wait(leave_programs_dialog([f"{it.name} {it.pid}" for it in running], self.session.readonly))
        if answer != "dump":
            return answer == "leave"
        for terminal in running:
            if terminal.alive and not await self._dump_and_end(terminal):
                return False
        return True

    async def _dump_and_end(self, terminal: "Terminal") -> bool:
        option = self.session.stack_option
        act = acts.dump(terminal.pid, terminal.name, option, final=True, companion=terminal.keeper())
        if not self.do(act):
            return False
        job = self.journal.of(act)
        while job.state in (journal.WAITING, journal.RUNNING):
            await asyncio.sleep(0.02)
        return job.state == journal.DONE

    async def on_unmount(self) -> None:
        """Our terminals go, and what runs in them is told by SIGHUP."""
        await asyncio.gather(*(terminal.close() for terminal in self.terminals))


def _keep(layer: Path, shown: str) -> None:
    from lamina.tui.terminal.kept import write_screen

    write_screen(layer, shown)
