"""The app as screens, dialogs and keys know it: the services it gives them, and how to get from one screen to another.

It makes the services, and hands them what is typed and what comes back from threads. What it shows is up to `lamina.tui.app`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import ScreenStackError
from textual.await_complete import AwaitComplete
from textual.dom import DOMNode
from textual.driver import Driver
from textual.notifications import SeverityLevel
from textual.types import ActionParseResult
from textual.widget import AwaitMount

from lamina.tui import messages
from lamina.tui.bridge import Bridge
from lamina.tui.model.guide import Guide
from lamina.tui.model.journal import Journal
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session
from lamina.tui.services.base_screen import BaseScreen
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.external_programs import ExternalPrograms
from lamina.tui.services.key_rules import KeyRules, ProgramScreen, Typed
from lamina.tui.services.line_history import LineHistory
from lamina.tui.services.notices import Notices
from lamina.tui.services.operation_queue import OperationQueue
from lamina.tui.services.quiet import ACTIONS
from lamina.tui.services.reader import Reader
from lamina.tui.services.terminals import Terminals
from lamina.tui.services.timed_layers import TimedLayers
from lamina.tui.services.type_ahead import TypeAhead
from lamina.tui.textual_private import OpenApp

if TYPE_CHECKING:
    from lamina.tui.model.compared import Compared
    from lamina.tui.read.page_bytes import MemorySource

# How much of a text that was copied is shown.
_TOLD = 50


class BaseApp(OpenApp):
    """An app with services."""

    def __init__(self, session: Session, driver_class: type[Driver]) -> None:
        super().__init__(driver_class=driver_class)
        self.notices = Notices(self, super().notify)
        self.current = CurrentSession(self, session, self.notices)
        self.bridge = Bridge(self)
        self.key_rules = KeyRules(self, self.program_screen)
        self.type_ahead = TypeAhead(self, self.key_rules, self.show_waiting)
        self.queue = OperationQueue(self, self.current, self.bridge, self.notices, self.type_ahead)
        self.reader = Reader(self, self.current, self.bridge, self.notices, self.type_ahead)
        self.terminals = Terminals(
            self, self.current, self.bridge, self.notices, self.queue, self.reader, self.type_ahead, self.program_screen
        )
        self.timed = TimedLayers(self.current, self.bridge, self.notices, self.queue, self.reader, self.terminals, self.show_timed)
        self.programs = ExternalPrograms(self, self.bridge, self.notices, self.queue, self.type_ahead)
        self.history = LineHistory(self.bridge)

    # -- in short --------------------------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """What all screens show."""
        return self.current.value

    @property
    def journal(self) -> Journal:
        """What was asked of the engine."""
        return self.queue.journal

    def do(self, operation: Operation) -> bool:
        """Hand *operation* to the engine, now or after those before it. False if it will not be done, which the user is told."""
        return self.queue.do(operation)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """A toast, and the same for good in the log. Never markup: the engine names things like [heap]."""
        self.notices.tell(message, title, severity, timeout)

    def copy(self, text: str) -> None:
        """Copy *text* to the clipboard of the terminal (OSC 52), and say so."""
        if text:
            self.copy_to_clipboard(text)
            self.notify(f"copied: {text if len(text) <= _TOLD else text[: _TOLD - 1] + '…'}", timeout=2)
        else:
            self.notify("nothing to copy here", timeout=2)

    # -- screens, which are above the services ---------------------------------------------------------------------------------------

    guide: Guide

    def screens(self) -> Iterable[tuple[str, BaseScreen]]:
        """The screens by their modes; those that were not shown yet are made, but not opened."""
        raise NotImplementedError

    def program_screen(self) -> ProgramScreen:
        """The screen that shows programs in terminals."""
        raise NotImplementedError

    def show(self, mode: str) -> AwaitMount | AwaitComplete:
        """Go to a screen. Await it only in a task of its own: the screens need the app's message loop meanwhile."""
        raise NotImplementedError

    def action_show(self, mode: str) -> None:
        """Go to a screen."""
        self.show(mode)

    def perform(self, action: str, mode: str = "", node: DOMNode | None = None) -> None:
        """Run an *action* of Textual, on the screen of that *mode*, or here on *node*, by default the screen."""
        self.run_worker(self._perform(action, mode, node), group=ACTIONS)

    async def _perform(self, action: str, mode: str, node: DOMNode | None) -> None:
        if mode:
            await self.show(mode)
            # A screen that was just opened is about to choose its focus.
            self.call_after_refresh(self.run_action, action, self.screen)
        else:
            await self.run_action(action, node or self.screen)

    def look_at_memory(self, source: "MemorySource", address: int | None = None) -> None:
        """Show *address* of some memory, byte by byte."""
        raise NotImplementedError

    def show_difference(self, what: "Compared") -> None:
        """Show what differs between two layers, or a layer and what runs."""
        raise NotImplementedError

    def follow_layer(self, path: Path | None) -> None:
        """Put the cursor on the layer at *path* as soon as it is in the list."""
        raise NotImplementedError

    def go_to_layer(self, name: str) -> None:
        """Put the cursor on the layer called *name*."""
        raise NotImplementedError

    def go_to_process(self, pid: int) -> None:
        """Put the cursor on *pid* in the process tree."""
        raise NotImplementedError

    def go_to_address(self, address: int) -> bool:
        """Put the cursor of the memory that is shown on *address*; False if it is not there."""
        raise NotImplementedError

    def action_jump_line(self, begun: str = "") -> None:
        """Type where to go, after `:`; *begun* stands there already."""
        raise NotImplementedError

    def show_waiting(self, text: str) -> None:
        """Show that keys wait, and for what; "": no longer."""
        raise NotImplementedError

    def show_timed(self, text: str) -> None:
        """Show when the next timed layer of the target is due; "" if none is."""
        raise NotImplementedError

    def restored(self, pid: int) -> None:
        """A program was put back: it is the target now."""
        self.reader.aim(pid)

    @property
    def keeps_children(self) -> bool:
        """Whether a restored program becomes lamina's own child; else it is left to init."""
        return False

    # -- keys, one after the other ---------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Let keys wait for their turn. A key that is still on its way when the last screen has gone is discarded."""
        try:
            if not isinstance(event, Typed) or event.is_forwarded or self.type_ahead.lets(event):
                await super().on_event(event)
        except ScreenStackError:
            if self.screen_stack:
                raise

    async def run_action(
        self,
        action: "str | ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run it, and note whether it opens something that takes the keyboard."""
        self.type_ahead.asks_for(action if isinstance(action, str) else action[1])
        done = await super().run_action(action, default_namespace, namespaces)
        if not done:
            self.type_ahead.asks_for_nothing()
        return done

    def exit(self, result: None = None, return_code: int = 0, message: object = None) -> None:
        """End the app, and discard keys from now on."""
        self.type_ahead.close()
        super().exit(result, return_code)

    # -- what comes back from threads, to whom it belongs ----------------------------------------------------------------------------

    def on_operation_started(self, message: messages.OperationStarted) -> None:
        """The engine began to work."""
        self.queue.started(message)

    def on_progress_made(self, message: messages.ProgressMade) -> None:
        """Work went on."""
        self.queue.progressed(message)

    def on_notice_given(self, message: messages.NoticeGiven) -> None:
        """The engine said a sentence."""
        self.queue.noticed(message)

    def on_operation_finished(self, message: messages.OperationFinished) -> None:
        """Work was done."""
        self.queue.finished(message)

    def on_operation_failed(self, message: messages.OperationFailed) -> None:
        """Work failed, was refused or cancelled."""
        self.queue.failed(message)

    def on_target_found(self, message: messages.TargetFound) -> None:
        """The target was read."""
        self.reader.target_found(message)

    def on_stack_read(self, message: messages.StackRead) -> None:
        """The layers were read."""
        self.reader.stack_read(message)

    def on_dirty_read(self, message: messages.DirtyRead) -> None:
        """What the target wrote was counted."""
        self.reader.dirty_read(message)

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """Something could not be read."""
        self.reader.failed(message)

    def on_timed_read(self, message: messages.TimedRead) -> None:
        """A program of which timed layers are taken was read."""
        self.timed.read(message)

    def on_program_held(self, message: messages.ProgramHeld) -> None:
        """A program runs in a terminal of ours."""
        self.terminals.program_held(message)

    def on_terminals_read(self, message: messages.TerminalsRead) -> None:
        """The terminals that are held were read."""
        self.terminals.found(message)

    def on_terminal_found(self, message: messages.TerminalFound) -> None:
        """A terminal that outlived its lamina is held here now."""
        self.terminals.attached(message)

    def on_executable_found(self, message: messages.ExecutableFound) -> None:
        """It is known which program a core file is of."""
        self.programs.executable_found(message)

    def on_lines_remembered(self, message: messages.LinesRemembered) -> None:
        """What was typed in earlier laminas was read."""
        self.history.remembered(message)

    def on_view_saved(self, message: messages.ViewSaved) -> None:
        """A file was written, or not."""
        self.notify(message.text, severity="error" if message.failed else "information")
