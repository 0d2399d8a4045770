"""Programs in terminals of lamina's own, which outlive it: those that are shown here, and those that are held elsewhere."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.signal import Signal

from lamina.tui import messages, operations
from lamina.tui.bridge import Bridge
from lamina.tui.model.journal import Job
from lamina.tui.model.operation import Operation
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.key_rules import ProgramScreen
from lamina.tui.services.notices import Notices
from lamina.tui.services.operation_queue import OperationQueue
from lamina.tui.services.reader import Reader
from lamina.tui.services.type_ahead import TypeAhead

if TYPE_CHECKING:
    from lamina.core.dump.request import Companion
    from lamina.tui.terminal.holders import HeldTerminal
    from lamina.tui.terminal.leader import Held
    from lamina.tui.terminal.terminal import Terminal


class Terminals:
    """The terminals of one app.

    Attributes:
        all: in the order in which they came here.
        shown: the one on screen 6.
        changed: told of each that shows something else, or ended.
        typed_ahead: what is typed on screen 6 while a program is on its way there; None while none is.
        held: all terminals that are held, here or elsewhere, by the pid of their program; None until that was read.
        wanted, takes_over: the held terminal that lamina was started for, and whether it is taken from another lamina.
        left_running: those that ran on when lamina was left.
        ask_take_over: asks whether a terminal is taken from the lamina that shows it, and calls the second argument if so.
        on_found: told which programs run in terminals, and who shows each.
    """

    def __init__(
        self,
        app: App[Any],
        current: CurrentSession,
        bridge: Bridge,
        notices: Notices,
        queue: OperationQueue,
        reader: Reader,
        type_ahead: TypeAhead,
        screen: Callable[[], ProgramScreen],
    ) -> None:
        self._app = app
        self._current = current
        self._bridge = bridge
        self._notices = notices
        self._queue = queue
        self._reader = reader
        self._type_ahead = type_ahead
        self._screen = screen
        self.all: list[Terminal] = []
        self.shown: Terminal | None = None
        self.changed: Signal[Terminal] = Signal(app, "terminals_changed")
        self.typed_ahead: bytearray | None = None
        self.held: Mapping[int, HeldTerminal] | None = None
        self.wanted: HeldTerminal | None = None
        self.takes_over = False
        self.left_running: Sequence[Terminal] = ()
        self.ask_take_over: Callable[[HeldTerminal, Callable[[], None]], None] = lambda _held, take: take()
        self.on_found: Callable[[Mapping[int, str]], None] = lambda _found: None
        # What brings a program here, and how many keys were pressed before it was asked for.
        self._awaited: Operation | None = None
        self._typed_before = 0
        self._asked_for: set[str] = set()

    # -- programs --------------------------------------------------------------------------------------------------------------------

    async def start(self, command: Sequence[str]) -> None:
        """Run *command* in a terminal of its own. It is started once it is known how large that is."""
        self.typed_ahead = bytearray()
        await self._app.switch_mode("terminal")
        screen = self._screen()
        screen.make_room()
        screen.call_after_refresh(lambda: self.bring(operations.run(command, screen.size_inside)))

    def bring(self, operation: Operation) -> bool:
        """Do *operation*, which brings a program into a terminal. Keys typed there meanwhile are for that program. False: not done."""
        typed, self.typed_ahead = self.typed_ahead, None
        if not self._queue.do(operation):
            self._screen().show_terminal()
            return False
        self._awaited, self.typed_ahead = operation, typed or bytearray()
        self._typed_before = self._type_ahead.count
        return True

    def over(self, job: Job, _result: Any) -> None:
        """A job has ended: if it brought no program, what was typed for it is discarded."""
        if job.operation is self._awaited:
            self._awaited = self.typed_ahead = None

    def program_held(self, message: messages.ProgramHeld) -> None:
        """A program runs in a terminal of ours: show it."""
        held = message.held
        terminal = next((known for known in self.all if known.pid == held.pid), None)
        if terminal is not None and message.rescue is not None:
            self._bridge.ask("screen of the rescue layer", partial(_keep, message.rescue, terminal.last_screen()))
        self.shown = terminal = self._show_held(held)
        terminal.write(bytes(self.typed_ahead or b""))
        self._awaited = self.typed_ahead = None
        self._reader.aim(held.pid)
        if self._app.current_mode == "terminal" or self._type_ahead.count == self._typed_before:
            self._app.switch_mode("terminal")
        else:  # one types elsewhere meanwhile
            self._type_ahead.come(None, f"the terminal of {held.name} {held.pid}", lambda: self._app.switch_mode("terminal"))

    def _show_held(self, held: "Held") -> "Terminal":
        """In the terminal of the same program that is shown already, or in one more."""
        from lamina.tui.terminal.terminal import Terminal

        terminal = next((known for known in self.all if known.pid == held.pid), None)
        if terminal is None:
            terminal = Terminal(self._screen().size_inside, self.changed.publish)
            self.all.append(terminal)
        try:
            terminal.hold(held)
        except ValueError as error:
            self._notices.tell(f"{held.name} {held.pid} runs, but its screen is lost: {error}", severity="warning")
        return terminal

    # -- terminals that outlived another lamina --------------------------------------------------------------------------------------

    def find(self) -> None:
        """Read what terminals are held, and who shows them."""
        self._bridge.follow("terminals", _find_terminals, to=self._app)

    def found(self, message: messages.TerminalsRead) -> None:
        """The first time, attach to those that no lamina shows, in the background, and to the one that was asked for."""
        first, self.held = self.held is None, {held.pid or held.holder: held for held in message.found}
        self.on_found({held.pid: self._who_shows(held) for held in message.found if held.pid and held.ended is None})
        if not first or self._current.value.readonly:
            return
        for held in message.found:
            if self.wanted is not None and held.key == self.wanted.key:
                self._ask_for(held, wanted=True, take=self.takes_over)
            elif not held.lamina and not held.is_around_us:
                self._ask_for(held, wanted=False)

    def _who_shows(self, held: "HeldTerminal") -> str:
        return "this lamina" if held.lamina == os.getpid() else f"lamina {held.lamina}" if held.lamina else ""

    def _ask_for(self, held: "HeldTerminal", wanted: bool, take: bool = False) -> None:
        if held.key in self._asked_for:
            return
        self._asked_for.add(held.key)
        self._bridge.ask(f"the terminal of {held.label}", lambda: _attach(held, wanted, take))

    def attached(self, message: messages.TerminalFound) -> None:
        """It is shown here now."""
        held = message.held
        self._asked_for.clear()
        terminal = self._show_held(held)
        if lost := held.line.status["lost"]:
            text = f"{lost:,} bytes of what {held.name} {held.pid} wrote while no lamina showed it were not kept"
            self._notices.tell(text, severity="warning")
        if message.wanted:
            self._app.switch_mode("terminal")
            self.show(terminal)
        else:
            if self.shown is None and self.typed_ahead is None:
                self.shown = terminal
            self._notices.tell(f"{held.name} {held.pid} is in a terminal that outlived its lamina: 6 shows it", timeout=6)

    def show_program(self, pid: int) -> bool:
        """Show the terminal that *pid* runs in; False if it is in none of lamina's."""
        ours = next((terminal for terminal in self.all if terminal.pid == pid and terminal.alive), None)
        held = (self.held or {}).get(pid)
        if ours is not None:
            self._app.switch_mode("terminal")
            self.show(ours)
        elif held is None or held.ended is not None or not self._current.may_change(f"the terminal of {held.label}"):
            return held is not None and held.ended is None
        elif held.lamina and held.lamina != os.getpid():
            self.ask_take_over(held, lambda: self._ask_for(held, wanted=True, take=True))
        else:
            self._ask_for(held, wanted=True)
        return True

    # -- those that are shown here ---------------------------------------------------------------------------------------------------

    def holds(self, pid: int) -> bool:
        """Whether *pid* runs in a terminal of ours."""
        return any(terminal.pid == pid and terminal.alive for terminal in self.all)

    @property
    def number(self) -> tuple[int, int]:
        """Which one is shown, from 1, and how many there are."""
        return (self.all.index(self.shown) + 1 if self.shown in self.all else 0), len(self.all)

    def show_next(self, by: int) -> None:
        """Show the next program, or the one before; it is the target then."""
        if self.all:
            self.show(self.all[(self.number[0] - 1 + by) % len(self.all)])

    def forget(self) -> None:
        """The terminal that is shown goes; its program has ended."""
        number, _ = self.number
        gone = self.shown
        if gone is not None and not gone.alive:
            self.all.remove(gone)
            self.shown = None
            gone.seen = True
            gone.leave()
            if self.all:
                self.show(self.all[max(0, number - 2)])
            else:
                self._screen().show_terminal()

    def show(self, terminal: "Terminal") -> None:
        """Show *terminal*; its program is the target then."""
        self.shown = terminal
        if terminal.alive:
            self._reader.aim(terminal.pid)
        elif terminal.stack is not None and terminal.stack != self._current.value.stack_dir:
            self._reader.open_stack(terminal.stack)
        self._screen().show_terminal()

    def companion_of(self, pid: int) -> "Companion | None":
        """What keeps the screen of *pid* for its next layer; None if it is in no terminal of ours."""
        terminal = next((known for known in self.all if known.pid == pid and known.alive), None)
        return terminal.keeper() if terminal is not None else None

    # -- leaving ---------------------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """What runs in our terminals runs on, and waits for the next lamina."""
        self.left_running = [terminal for terminal in self.all if terminal.alive and terminal.holder]
        for terminal in self.all:
            terminal.leave()

    def what_runs_on(self) -> list[str]:
        """What was left running in its terminal, one line each."""
        return [f"{terminal.name} {terminal.pid} runs on in its terminal: lamina attach {terminal.pid}" for terminal in self.left_running]


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
