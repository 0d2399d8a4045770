"""Screen 6: a program in a terminal of lamina's own, and its layers next to it. All keys but the prefix go to the program."""

import time
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from lamina.tui.dialogs.ask_restore import ask_restore
from lamina.tui.keys.keymap import TERMINAL_KEYS
from lamina.tui.model.journal import Job
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.session import Session
from lamina.tui.model.subject import Subject
from lamina.tui.screens.frame import Frame
from lamina.tui.terminal.prefix import Prefix, Whose
from lamina.tui.terminal.terminal import Terminal
from lamina.tui.widgets.terminal_rail import TerminalRail
from lamina.tui.widgets.terminal_view import TerminalView

# How long after the last step the arrow keys still go through the layers, without another prefix.
_WALK_S = 1.2


class TerminalScreen(Frame):
    """The terminal and the rail."""

    NAME = "terminal"
    USEFUL = ("dump", "restore", "layer(-1)", "layer(1)", "program(1)")
    BINDINGS: ClassVar = TERMINAL_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._view = TerminalView(lambda: self.lamina.terminals.typed_ahead, id="terminal")
        self._rail = TerminalRail(id="rail")
        self._hint = Static(id="terminal-hint", markup=False)
        self._hinted = ""
        self._alone = False
        self._prefix = Prefix()
        self._walks = 0
        # Since when no program is there (time.monotonic); 0.0 while one is.
        self.left_at = 0.0

    def compose_body(self) -> Iterable[Widget]:
        """Side by side."""
        with Horizontal(id="terminal-body"):
            yield self._view
            yield self._rail
        yield self._hint

    def opened(self) -> None:
        """The keyboard is the program's."""
        self.lamina.terminals.changed.subscribe(self, self._terminal_changed)
        self._view.focus()
        self.show_terminal()

    def on_screen_resume(self) -> None:
        """The program that is seen is the target, and has the keyboard."""
        self._view.focus()
        self._prefix.key = next((key for key, it in self.active_bindings.items() if it.binding.action == "prefix"), self._prefix.key)
        self._disarm()
        self.show_terminal()

    # -- what is shown ---------------------------------------------------------------------------------------------------------------

    @property
    def terminal(self) -> Terminal | None:
        """The one that is shown."""
        return self._view.terminal

    @property
    def size_inside(self) -> tuple[int, int]:
        """Columns and lines of the program's window."""
        size = self._view.size
        return (size.width, size.height) if size.width and size.height else (80, 24)

    def make_room(self) -> None:
        """A program is on its way here."""
        self._show_rail()
        self._show_keys()

    def show_terminal(self) -> None:
        """Show the chosen terminal of the app, and make its program the target."""
        if not self.is_attached:
            return
        terminal = self.lamina.terminals.shown
        if terminal is not None and self.is_current:
            terminal.seen = True
        self._view.show(terminal, self._note())
        self.left_at = 0.0 if self.is_program_there else self.left_at or time.monotonic()
        self._show_rail()
        number, count = self.lamina.terminals.number
        self.title_bar.aside = f"program {number} of {count}" if count > 1 else ""
        self.title_bar.refresh()
        self._show_keys()
        self.session_changed(self.lamina.session)

    def _show_rail(self) -> None:
        self._rail.display = (self._view.terminal is not None or self.is_program_there) and not self._alone

    def job_changed(self, job: Job | None) -> None:
        """Update what depends on whether a program is on its way."""
        self._show_rail()
        self._show_keys()

    def _terminal_changed(self, terminal: Terminal) -> None:
        if terminal is not self.lamina.terminals.shown:
            return
        if terminal is not self._view.terminal or not terminal.alive or self._view.note:
            self.show_terminal()
        elif self.is_current:
            self._view.changed()

    def session_changed(self, session: Session) -> None:
        """Let the rail follow the stack of the program."""
        terminal, stack, target = self.lamina.terminals.shown, session.stack, session.target
        rows: list[LayerRow] = []
        if terminal is not None and stack is not None and stack.path == session.stack_dir:
            rows = [row for row in stack.rows if row.pid in (terminal.pid, 0) and not row.dropped]
        if terminal is not None and target is not None and target.pid == terminal.pid:
            terminal.stack = session.stack_dir
        ours = target is not None and terminal is not None and target.pid == terminal.pid and target.alive
        dirty = session.dirty.pages if ours and session.dirty and target and session.dirty.identity == target.identity else -1
        ended = terminal is not None and not terminal.alive and not terminal.elsewhere
        self._rail.show(rows, target.layer if ours and target else None, dirty, ended)
        self._view.say(self._note())
        self._show_keys()
        self.refresh_bindings()

    def _note(self) -> str:
        """How the program ended, and what to do about it; "" while it runs."""
        terminal, row = self.lamina.terminals.shown, self._rail.row
        if terminal is None or terminal.alive:
            return ""
        ended = f"{terminal.name} {terminal.pid} {terminal.ending}"
        if terminal.elsewhere:
            return ended
        return f"{ended} · r puts it back to layer {row.name}" if row else f"{ended} · ^n starts another one"

    # -- keys ------------------------------------------------------------------------------------------------------------------------

    @property
    def takes_keys(self) -> bool:
        """Whether a program has the keyboard, or one that is on its way will have it."""
        return self.is_program_there and self.focused is self._view

    def is_for_program(self, key: str) -> bool:
        """Whether the program reads *key*, pressed now; nothing changes by asking."""
        return not self._prefix.armed and key != self._prefix.key

    @property
    def is_program_there(self) -> bool:
        """Whether a program runs in the terminal that is shown, or is on its way there."""
        terminal = self._view.terminal
        return self.lamina.terminals.typed_ahead is not None or (terminal is not None and terminal.alive)

    def whose_key(self, key: str) -> Whose:
        """Who gets *key*; shows what the prefix offers once it was pressed."""
        whose = self._prefix.whose(key)
        self._walks += 1
        if self._prefix.armed and whose is not Whose.NOBODY:
            walk = self._walks
            self.set_timer(_WALK_S, lambda: self._disarm() if walk == self._walks else None)
        self._show_keys()
        return whose

    def _disarm(self) -> None:
        self._prefix.armed = False
        self._show_keys()

    def unknown_key(self, key: str) -> None:
        """After the prefix came a *key* that means nothing here."""
        prefix = self._prefix_shown
        self._say(f" {prefix} {key} means nothing here · {prefix} ? lists all keys")

    @property
    def _prefix_shown(self) -> str:
        """The prefix as people write it."""
        return self._prefix.key.replace("ctrl+", "^")

    def _show_keys(self) -> None:
        terminal = self._view.terminal
        self.set_class(self.is_program_there and not self._prefix.armed, "-typing")
        if self.lamina.terminals.typed_ahead is not None:
            self._say(" what is typed now waits for the program that is on its way")
        elif terminal is not None:
            prefix = self._prefix_shown
            back = f" · {prefix} ↑↓ choose, {prefix} r back" if self._rail.rows else ""
            self._say(f" {prefix} d a layer{back} · {prefix} ? keys · all else to {terminal.name}")

    def _say(self, hint: str) -> None:
        if hint != self._hinted:
            self._hinted = hint
            self._hint.update(hint, layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer nothing that cannot be done: no layer of a program that has ended, no next program if there is only one."""
        terminal = self.lamina.terminals.shown
        if action in ("dump", "track", "final"):
            return terminal is not None and terminal.alive
        if action == "forget":
            return terminal is not None and not terminal.alive
        if action == "program":
            return len(self.lamina.terminals.all) > 1
        return bool(self._rail.rows) if action in ("restore", "layer") else True

    # -- operations --------------------------------------------------------------------------------------------------------------------

    def subject(self) -> Subject | None:
        """The program in the terminal, whatever the target is."""
        terminal, target = self.lamina.terminals.shown, self.lamina.session.target
        if terminal is None:
            return None
        known = target if target is not None and target.pid == terminal.pid else None
        return Subject(terminal.pid, terminal.name, bool(known and known.tracker), known.stack if known else None)

    def action_restore(self) -> None:
        """Back to the chosen layer, after asking."""
        row = self._rail.row
        if row is not None:
            ask_restore(self.lamina, row)

    def action_layer(self, by: int) -> None:
        """Choose a newer or an older layer."""
        self._rail.move(by)
        self._view.say(self._note())

    @on(TerminalRail.Chosen)
    def _layer_clicked(self) -> None:
        self._view.say(self._note())

    def action_program(self, by: int) -> None:
        """To the next program, or the one before."""
        self.lamina.terminals.show_next(by)

    def action_forget(self) -> None:
        """Close the terminal of a program that has ended."""
        self.lamina.terminals.forget()

    def action_maximise(self) -> None:
        """The terminal alone, and back."""
        self._alone = not self._alone
        self._show_rail()

    def action_prefix(self) -> None:
        """Do nothing: while no program has the keyboard, no prefix is needed."""
