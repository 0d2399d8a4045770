"""The part of the app that shows programs, each in a terminal of lamina's own, which outlives it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.signal import Signal

from lamina.tui import messages, operations
from lamina.tui.app.current_session import ReadingApp
from lamina.tui.app.type_ahead import Typed
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session

if TYPE_CHECKING:
    from lamina.core.dump.request import Companion
    from lamina.tui.screens.terminal_screen import TerminalScreen
    from lamina.tui.terminal.holders import HeldTerminal
    from lamina.tui.terminal.leader import Held
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
        self._awaited: Operation | None = None
        # How many keys were pressed before it was asked for.
        self._typed_before = 0
        self._command_before = ""
        # What `lamina run` was asked for, and `lamina attach`.
        self.first_command: Sequence[str] = ()
        self.first_terminal: HeldTerminal | None = None
        self.takes_over = False
        # All terminals that are held, by the pid of their program; None until it was looked.
        self.held: Mapping[int, HeldTerminal] | None = None
        self._asked_for: set[str] = set()
        self.left_running: Sequence[Terminal] = ()

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
        screen.call_after_refresh(lambda: self.bring(operations.run(command, screen.size_inside)))

    def bring(self, operation: Operation) -> bool:
        """Do *operation*, which brings a program into a terminal. Keys typed there meanwhile are for that program. False: not done."""
        typed, self.typed_ahead = self.typed_ahead, None
        if not self.do(operation):
            self.terminal_screen.show_terminal()
            return False
        self._awaited, self.typed_ahead = operation, typed or bytearray()
        self._typed_before = self.type_ahead.count
        return True

    def over(self, job: Job, result: Any) -> None:
        """A job came to its end: if it brought no program, nobody reads what was typed for it."""
        if job.operation is self._awaited:
            self._awaited = self.typed_ahead = None
        super().over(job, result)

    def on_program_held(self, message: messages.ProgramHeld) -> None:
        """A program runs in a terminal of ours: show it."""
        held = message.held
        terminal = next((known for known in self.terminals if known.pid == held.pid), None)
        if terminal is not None and message.rescue is not None:
            self.bridge.ask("screen of the rescue layer", partial(_keep, message.rescue, terminal.last_screen()))
        self.terminal = terminal = self._show_held(held)
        terminal.write(bytes(self.typed_ahead or b""))
        self._awaited = self.typed_ahead = None
        self.reader.aim(held.pid)
        if self.current_mode == "terminal" or self.type_ahead.count == self._typed_before:
            self.switch_mode("terminal")
        else:  # one types elsewhere meanwhile
            self.type_ahead.come(None, f"the terminal of {held.name} {held.pid}", lambda: self.switch_mode("terminal"))

    def _show_held(self, held: "Held") -> "Terminal":
        """In the terminal of the same program that is shown already, or in one more."""
        from lamina.tui.terminal.terminal import Terminal

        terminal = next((known for known in self.terminals if known.pid == held.pid), None)
        if terminal is None:
            terminal = Terminal(self.terminal_screen.size_inside, self.terminals_changed.publish)
            self.terminals.append(terminal)
        try:
            terminal.hold(held)
        except ValueError as error:
            self.notify(f"{held.name} {held.pid} runs, but its screen is lost: {error}", severity="warning")
        return terminal

    # -- terminals that outlived another lamina --------------------------------------------------------------------------------------

    def find_terminals(self) -> None:
        """What terminals are held, and who shows them."""
        self.bridge.follow("terminals", _find_terminals, to=self)

    def on_terminals_read(self, message: messages.TerminalsRead) -> None:
        """At first those that nobody shows are shown here, in the background, and the one that was asked for."""
        first, self.held = self.held is None, {held.pid or held.holder: held for held in message.found}
        self.terminals_known({held.pid: self._who_shows(held) for held in message.found if held.pid and held.ended is None})
        if not first or self.session.readonly:
            return
        wanted = self.first_terminal
        for held in message.found:
            if wanted is not None and held.key == wanted.key:
                self._ask_for(held, wanted=True, take=self.takes_over)
            elif not held.lamina and not held.is_around_us:
                self._ask_for(held, wanted=False)

    def terminals_known(self, terminals: Mapping[int, str]) -> None:
        """Programs in terminals of lamina's, and who shows each; see `ProcessList`."""

    def _who_shows(self, held: "HeldTerminal") -> str:
        return "this lamina" if held.lamina == os.getpid() else f"lamina {held.lamina}" if held.lamina else ""

    def _ask_for(self, held: "HeldTerminal", wanted: bool, take: bool = False) -> None:
        if held.key in self._asked_for:
            return
        self._asked_for.add(held.key)
        self.bridge.ask(f"the terminal of {held.label}", lambda: _attach(held, wanted, take))

    def on_terminal_found(self, message: messages.TerminalFound) -> None:
        """It is shown here now."""
        held = message.held
        self._asked_for.clear()
        terminal = self._show_held(held)
        if lost := held.line.status["lost"]:
            self.notify(f"{lost:,} bytes of what {held.name} {held.pid} wrote while nobody looked were not kept", severity="warning")
        if message.wanted:
            self.switch_mode("terminal")
            self.show_terminal(terminal)
        else:
            if self.terminal is None and self.typed_ahead is None:
                self.terminal = terminal
            self.notify(f"{held.name} {held.pid} is in a terminal that outlived its lamina: 6 shows it", timeout=6)

    def show_held(self, pid: int) -> bool:
        """Show the terminal that *pid* runs in; False if it is in none of lamina's."""
        ours = next((terminal for terminal in self.terminals if terminal.pid == pid and terminal.alive), None)
        held = (self.held or {}).get(pid)
        if ours is not None:
            self.switch_mode("terminal")
            self.show_terminal(ours)
        elif held is None or held.ended is not None or not self.may_change(f"the terminal of {held.label}"):
            return held is not None and held.ended is None
        elif held.lamina and held.lamina != os.getpid():
            from lamina.tui.dialogs.leave import take_over_dialog

            self.push_screen(
                take_over_dialog(held.label, held.lamina),
                lambda answer: self._ask_for(held, wanted=True, take=True) if answer == "take" else None,
            )
        else:
            self._ask_for(held, wanted=True)
        return True

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
            gone.seen = True
            gone.leave()
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

    async def run_bindings(self, key: str, priority: bool = False) -> bool:
        """While a program has the keyboard, the keys of lamina and of Textual itself are off.

        It is decided here, where keys come by one after the other: one typed right behind the prefix must not be taken for the program's.
        """
        if not priority or not self.program_has_keyboard:
            return await super().run_bindings(key, priority)
        from lamina.tui.terminal.prefix import Whose

        screen = self.terminal_screen
        whose = screen.whose_key(key)
        if whose is Whose.LAMINA and not (await super().run_bindings(key, True) or await super().run_bindings(key)):
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

    def what_runs_on(self) -> list[str]:
        """What was left running in its terminal, one line each."""
        return [f"{terminal.name} {terminal.pid} runs on in its terminal: lamina attach {terminal.pid}" for terminal in self.left_running]

    async def programs_may_end(self) -> bool:
        """Ask what is to become of the programs in our terminals, which run on by themselves; False: stay."""
        from lamina.tui.dialogs.leave import leave_programs_dialog

        running = [terminal for terminal in self.terminals if terminal.alive and terminal.seen]
        if not running:
            return True
        answer = await self.push_screen_wait(leave_programs_dialog([f"{it.name} {it.pid}" for it in running], self.session.readonly))
        if answer == "end":
            await asyncio.gather(*(terminal.end() for terminal in running))
        if answer != "dump":
            return answer in ("leave", "end")
        for terminal in running:
            if terminal.alive and not await self._dump_and_end(terminal):
                return False
        return True

    async def _dump_and_end(self, terminal: "Terminal") -> bool:
        option = self.session.stack_option
        operation = operations.dump(terminal.pid, terminal.name, option, final=True, companion=terminal.keeper())
        if not self.do(operation):
            return False
        job = self.journal.of(operation)
        while job.state in (journal.WAITING, journal.RUNNING):
            await asyncio.sleep(0.02)
        return job.state == journal.DONE

    async def on_unmount(self) -> None:
        """What runs in our terminals runs on, and waits for the next lamina."""
        self.left_running = [terminal for terminal in self.terminals if terminal.alive and terminal.holder]
        for terminal in self.terminals:
            terminal.leave()


def _keep(layer: Path, shown: str) -> None:
    from lamina.tui.terminal.kept import write_screen

    write_screen(layer, shown)


def _find_terminals() -> messages.TerminalsRead:
    from lamina.tui.terminal.holders import held_terminals, tidy

    found = held_terminals()
    tidy(found)
    return messages.TerminalsRead(found)


def _attach(held: "HeldTerminal", wanted: bool, take: bool) -> messages.TerminalFound:
    from lamina.tui.terminal.holders import attach
    from lamina.tui.terminal.leader import Held

    return messages.TerminalFound(Held(held.pid, held.name, attach(held, take)), wanted)
