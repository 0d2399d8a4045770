"""The app: owns the session and the journal, hands acts to the bridge, and passes on what comes back."""

import asyncio
import signal
import sys
from dataclasses import replace
from typing import ClassVar, cast

from textual import work
from textual.app import App
from textual.binding import Binding
from textual.signal import Signal

from lamina.tui import journal, messages, options
from lamina.tui.acts import Act
from lamina.tui.bridge import Bridge
from lamina.tui.dialogs.dedup import ask_dedup
from lamina.tui.dialogs.leave import leave_dialog
from lamina.tui.journal import Job, Journal
from lamina.tui.keymap import APP_KEYS
from lamina.tui.reader import Reader
from lamina.tui.screens.frame import Frame
from lamina.tui.screens.help import HelpScreen
from lamina.tui.screens.jobs import JobScreen
from lamina.tui.screens.processes import ProcessScreen
from lamina.tui.screens.stack import StackScreen
from lamina.tui.session import Session
from lamina.tui.theme import LAMINA

# Acts after which the target and its stack look different.
_CHANGES = {"track", "untrack", "dump", "final", "restore", "dedup"}


class LaminaApp(App[None]):
    """lamina's text user interface."""

    TITLE = "lamina"
    CSS_PATH = "lamina.tcss"
    BINDINGS: ClassVar = APP_KEYS
    FIRST = "processes"

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.journal = Journal()
        self.bridge = Bridge(self)
        self.reader = Reader(self)
        self.session_changed: Signal[Session] = Signal(self, "session_changed")
        self.jobs_changed: Signal[Job | None] = Signal(self, "jobs_changed")
        self.processes = ProcessScreen()
        self.stack = self.make_stack_screen()
        self.jobs = JobScreen()
        self.register_theme(LAMINA)
        self.theme = LAMINA.name
        for name, screen in (("processes", self.processes), ("stack", self.stack), ("jobs", self.jobs)):
            self.add_mode(name, lambda screen=screen: screen)  # type: ignore[misc]

    def make_stack_screen(self) -> StackScreen:
        """The demo has its own."""
        return StackScreen()

    @property
    def keeps_children(self) -> bool:
        """Whether a restored program becomes lamina's own child; else it is left to init."""
        return False

    async def on_mount(self) -> None:
        """Open the first screen; leave properly when the terminal or the system asks."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.leave_now)
        await self.switch_mode(self.FIRST)
        self.set_interval(2.0, self.reader.look_at_target)

    # Acts

    def do(self, act: Act) -> None:
        """Hand *act* to the engine, unless one is running or nothing may be changed."""
        if self.session.readonly and act.kind != "plan":
            self.notify(f"{act.title}: this lamina was started with --readonly", severity="warning")
        elif not self.bridge.start(act):
            busy = self.bridge.busy_with
            self.notify(f"{busy.title if busy else 'another act'} is still going on: c cancels it", severity="warning")
        else:
            self.jobs_changed.publish(self.journal.begin(act))
            if act.pid and act.kind != "restore":
                self.reader.aim(act.pid)

    def on_act_started(self, message: messages.ActStarted) -> None:
        """The command line is known. An act made of two gets its second one here."""
        job = self.journal.of(message.act)
        job.command = f"{job.command} && {message.command}" if job.command else message.command
        self.jobs_changed.publish(job)

    def on_progress_made(self, message: messages.ProgressMade) -> None:
        """Work went on."""
        job = self.journal.of(message.act)
        if job.state == journal.RUNNING:
            job.progress, job.phase_us = message.progress, message.phase_us
            self.jobs_changed.publish(job)

    def on_notice_given(self, message: messages.NoticeGiven) -> None:
        """A sentence to be read, once."""
        job = self.journal.of(message.act)
        if message.text not in job.notices:
            job.notices.append(message.text)
            self.notify(message.text, severity="warning", timeout=8)
            self.jobs_changed.publish(job)

    def on_act_finished(self, message: messages.ActFinished) -> None:
        """Done: say so, and look at what it changed."""
        for text in message.notices:
            self.on_notice_given(messages.NoticeGiven(message.act, text))
        act = message.act
        self.jobs_changed.publish(self.journal.end(act, journal.DONE, message.summary))
        if act.kind == "plan":
            ask_dedup(self, message.result)
        else:
            self.notify(message.summary, title=act.title, timeout=4)
        if act.kind == "restore":
            self.restored(message.result.pid)
        self._look_again(act)

    def on_act_failed(self, message: messages.ActFailed) -> None:
        """Refused, failed or cancelled: the engine's own words, as a toast and in the jobs."""
        state = journal.CANCELLED if message.cancelled else journal.FAILED
        self.jobs_changed.publish(self.journal.end(message.act, state, message.text))
        self.notify(message.text, title=message.act.title, severity="information" if message.cancelled else "error", timeout=10)
        self._look_again(message.act)

    def restored(self, pid: int) -> None:
        """A program was put back: it is the target now."""
        self.reader.aim(pid)

    def _look_again(self, act: Act) -> None:
        if act.kind in _CHANGES:
            self.reader.look_at_target()
            self.reader.read_stack()
            self.processes.read()

    # What was read

    def set_session(self, session: Session) -> None:
        """Replace the session and let all screens know."""
        if session != self.session:
            self.session = session
            self.session_changed.publish(session)

    def on_target_found(self, message: messages.TargetFound) -> None:
        """The target is known anew."""
        before = self.session.stack_dir
        self.set_session(replace(self.session, target=message.target))
        if self.session.stack_dir != before:
            self.reader.read_stack()

    def on_stack_read(self, message: messages.StackRead) -> None:
        """The layers are known anew."""
        if message.stack.path == self.session.stack_dir:
            self.set_session(replace(self.session, stack=message.stack))

    def on_processes_read(self, message: messages.ProcessesRead) -> None:
        """To the process screen."""
        self.processes.show_processes(message.table)

    def on_target_examined(self, message: messages.TargetExamined) -> None:
        """To the process screen."""
        self.processes.show_examined(message.examined)

    def on_strip_read(self, message: messages.StripRead) -> None:
        """To the stack screen."""
        self.stack.show_strip(message)

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """What could only not be looked at is said where it would have been shown, or in a toast."""
        if message.about == "examine":
            self.processes.show_failed(message.text)
        else:
            self.notify(message.text, title=f"cannot read {message.about}", severity="error")

    # Keys

    def action_show(self, mode: str) -> None:
        """Go to a screen."""
        if mode == "stack" and self.session.target is None and self.current_mode == "processes":
            self.processes.aim_at_cursor()
        self.switch_mode(mode)

    def action_help(self) -> None:
        """All keys, those of this screen first."""
        if isinstance(self.screen, Frame):
            keys = [key for key in type(self.screen).__dict__.get("BINDINGS", []) if isinstance(key, Binding)]
            self.push_screen(HelpScreen(self.screen.WHERE, cast("list[Binding]", keys)))

    def action_cancel_act(self) -> None:
        """Ask the running act to stop."""
        if self.bridge.cancel():
            self.notify("asked to stop", timeout=2)

    def action_leave(self) -> None:
        """Leave; ask first while the engine works."""
        self._leave()

    @work(exclusive=True, group="leave")
    async def _leave(self) -> None:
        job = self.journal.running
        if job is not None and self.bridge.busy_with is not None:
            if await self.push_screen_wait(leave_dialog(job)) != "leave":
                return
            self.bridge.cancel()
        await self.bridge.wait_idle()
        self.exit()

    def leave_now(self) -> None:
        """Asked from outside: cancel what runs and leave without a question."""
        self.bridge.cancel()
        self.exit()


def run_app(argv: list[str]) -> int:
    """Open the TUI; *argv* holds options only, a verb never comes here. Returns the exit code."""
    session, demo = options.parse(argv)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("lamina: the screen needs a terminal; `lamina --help` lists the verbs", file=sys.stderr)
        return 2
    if demo:
        from lamina.tui.demo.run import run_demo

        return run_demo(session)
    app = LaminaApp(session)
    app.run()
    for line in app.reader.what_stays(app.journal):
        print(line, file=sys.stderr)
    return app.return_code or 0
