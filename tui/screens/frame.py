"""What every screen has: the title bar at the top, the job bar and the keys at the bottom, and the operations on the target."""

from collections.abc import Callable, Iterable
from typing import ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from lamina.tui import operations
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.keys.keymap import PANE_KEYS, TARGET_KEYS
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session
from lamina.tui.model.subject import Subject
from lamina.tui.screens.panes import PanedScreen
from lamina.tui.services.base_app import BaseApp
from lamina.tui.widgets.guide_line import GuideLine
from lamina.tui.widgets.job_bar import JobBar
from lamina.tui.widgets.jump_line import JumpLine
from lamina.tui.widgets.key_bar import KeyBar
from lamina.tui.widgets.title_bar import TitleBar

_REST_S = 0.1
# A terminal of fewer columns or lines is tiny.
_TINY = (30, 10)


class Frame(PanedScreen):
    """Base of the screens. Subclasses define `NAME` and `compose_body`, and in `USEFUL` which actions come first in the key bar."""

    USEFUL: ClassVar[tuple[str, ...]] = ()
    BINDINGS = [*TARGET_KEYS, *PANE_KEYS]
    _rest: Timer | None = None

    def __init__(self) -> None:
        super().__init__()
        # Attributes rather than queries: what was read may arrive while the screen is being closed.
        self.title_bar = TitleBar(self.NAME)
        self._job_bar = JobBar()
        self.guide_line = GuideLine(id="guide")
        self.jump_line = JumpLine()
        self.key_bar = KeyBar(self.USEFUL)

    @property
    def lamina(self) -> BaseApp:
        """The app, typed."""
        return cast(BaseApp, self.app)

    def compose_body(self) -> Iterable[Widget]:
        """The widgets between the bars."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Bars and body."""
        yield self.title_bar
        yield from self.compose_body()
        yield self.guide_line
        yield self._job_bar
        yield self.jump_line
        yield self.key_bar

    def on_mount(self) -> None:
        """Follow the session and the journal."""
        self.lamina.current.changed.subscribe(self, self._on_session)
        self.lamina.queue.changed.subscribe(self, self._on_job)
        self.title_bar.show(self.lamina.session)
        self._job_bar.show(self.lamina.journal.running or self.lamina.journal.newest)
        self.guide_line.show(self.lamina.guide)
        self.opened()

    def on_screen_resume(self) -> None:
        """The guide may have gone on elsewhere."""
        self.guide_line.show(self.lamina.guide)

    def on_resize(self, event: events.Resize) -> None:
        """On a tiny terminal, leave out frames and the second line of the header."""
        self.set_class(event.size.width < _TINY[0] or event.size.height < _TINY[1], "-tiny")

    def opened(self) -> None:
        """The screen was mounted. (Textual calls every class's own `on_mount`; this one is overridden as usual.)"""

    def ask(self, group: str, *questions: Callable[[], Message | None]) -> None:
        """Answer *questions* one after the other in a thread. The answers come to this screen. A newer call for *group* replaces this."""
        self.lamina.bridge.ask(group, *questions, to=self)

    def when_at_rest(self, read: Callable[[], None]) -> None:
        """Call *read* once the cursor rests: holding an arrow key must not start a reading of every row it passes."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST_S, read)

    def _on_session(self, session: Session) -> None:
        self.title_bar.show(session)
        self.session_changed(session)

    def _on_job(self, job: Job | None) -> None:
        self._job_bar.show(self.lamina.journal.running or job)
        self.job_changed(job)

    def session_changed(self, session: Session) -> None:
        """The target or its stack changed."""

    def job_changed(self, job: Job | None) -> None:
        """A job began, went on or ended."""

    def subject(self) -> Subject | None:
        """The process that `t`, `d` and `F` are about. None if there is none, which the user is told."""
        target, aimed_at = self.lamina.session.target, self.lamina.reader.aimed_at
        if aimed_at and (target is None or target.pid != aimed_at):
            self.notify(f"process {aimed_at} is still being read: press the key again", severity="warning")
            return None
        if target is None:
            self.notify("no process chosen: press 1 and choose one", severity="warning")
            return None
        return Subject(target.pid, target.name, bool(target.tracker), target.stack)

    def action_track(self) -> None:
        """Start tracking, or end it."""
        if subject := self.subject():
            change = operations.untrack if subject.tracked else operations.track
            self.lamina.do(change(subject.pid, subject.name))

    def action_dump(self) -> None:
        """Take the next layer."""
        if subject := self.subject():
            companion = self.lamina.terminals.companion_of(subject.pid)
            self.lamina.do(operations.dump(subject.pid, subject.name, subject.stack, companion=companion))

    def action_send(self) -> None:
        """Take the next layer, and send its pages to a page server."""
        subject = self.subject()
        if subject is not None and self.lamina.current.may_change("a dump"):
            from lamina.tui.dialogs.ask_page_server import ask_send

            ask_send(self.lamina, subject)

    def action_timed(self) -> None:
        """Take layers every so often from now on, or end that."""
        subject = self.subject()
        if subject is None:
            return
        if subject.pid in self.lamina.timed.runs:
            self.lamina.type_ahead.asks_for_nothing()
            self.lamina.timed.end(subject.pid)
        elif self.lamina.current.may_change("timed layers"):
            from lamina.tui.dialogs.ask_timed import ask_timed

            ask_timed(self.lamina, subject)

    def action_final(self) -> None:
        """Take the last layer and end the program, after asking."""
        subject = self.subject()
        if subject is None:
            return
        pid, name = subject.pid, subject.name

        def answered(choice: str | None) -> None:
            if choice == "end":
                companion = self.lamina.terminals.companion_of(pid)
                self.lamina.do(operations.dump(pid, name, subject.stack, final=True, companion=companion))

        self.app.push_screen(
            Confirm(
                f"Final dump of {name} {pid}",
                [
                    "One more layer is taken, and once it is safely on disk the program is ended.",
                    "It can be put back to any layer later.",
                ],
                [Choice("cancel", "Cancel"), Choice("end", "Dump and end it", danger=True, command=f"lamina dump -t {pid} -D …")],
            ),
            answered,
        )
