"""The half of the app that looks: owns the session, and replaces it when something was read."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.signal import Signal

from lamina.tui import messages
from lamina.tui.app.own_commands import CommandedApp
from lamina.tui.app.reader import Reader
from lamina.tui.app.timed_layers import TimedLayers
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session

if TYPE_CHECKING:
    from lamina.tui.app.lamina import LaminaApp


class ReadingApp(CommandedApp):
    """An app that keeps looking at the target and its stack."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.reader = Reader(self)
        self.timed = TimedLayers(cast("LaminaApp", self))
        self._unread: dict[str, str] = {}
        self.session_changed: Signal[Session] = Signal(self, "session_changed")

    def open_stack(self, path: Path) -> None:
        """Show the stack in *path*; its program is the target again once it is put back."""
        before = self.session.stack_option
        option = path if before is not None else None
        if before not in (None, path):
            self.notify(f"layers go to {path} now, no longer to {before}")
        self.set_session(replace(self.session, stack_option=option, target=None, opened=path, dirty=None))
        self.reader.read_stack()

    def set_session(self, session: Session) -> None:
        """Replace the session and let all screens know."""
        if session != self.session:
            self.session = session
            self.session_changed.publish(session)

    def over(self, job: Job, result: Any) -> None:
        """A job came to its end: perhaps one of the timed layers."""
        super().over(job, result)
        self.timed.over(job, result)

    def on_timed_read(self, message: messages.TimedRead) -> None:
        """A program of which timed layers are taken was looked at."""
        self.timed.looked(message.run, message.dirty, message.ended)

    def on_target_found(self, message: messages.TargetFound) -> None:
        """The target is known anew."""
        known = self.session.target
        if message.aimed and message.target.pid == self.reader.aimed_at:
            self.reader.aimed_at = 0
        if not message.aimed and (known is None or known.pid != message.target.pid):
            return  # the user chose another meanwhile
        before = self.session.stack_dir
        dirty = self.session.dirty if message.target.tracker else None
        self.set_session(replace(self.session, target=message.target, dirty=dirty))
        if self.session.stack_dir != before:
            self.reader.read_stack()

    def on_stack_read(self, message: messages.StackRead) -> None:
        """The layers are known anew."""
        if message.stack.path == self.session.stack_dir:
            self.set_session(replace(self.session, stack=message.stack))

    def on_dirty_read(self, message: messages.DirtyRead) -> None:
        """What the target wrote was counted."""
        target = self.session.target
        if target is not None and target.identity == message.dirty.identity:
            self.set_session(replace(self.session, dirty=message.dirty))

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """Something could not be looked at: say it once, not with every refresh."""
        if message.about == "aim":
            self.reader.aimed_at = 0
        if self._unread.get(message.about) != message.text:
            self._unread[message.about] = message.text
            self.notify(message.text, title=f"cannot read {message.about}", severity="error")
