"""The session that all screens show, and that is replaced as a whole when something was read."""

from typing import Any

from textual.app import App
from textual.signal import Signal

from lamina.tui.model.session import Session
from lamina.tui.services.notices import Notices


class CurrentSession:
    """The one session of an app.

    Attributes:
        value: as it is now.
        changed: told with each new one.
    """

    def __init__(self, app: App[Any], session: Session, notices: Notices) -> None:
        self.value = session
        self.changed: Signal[Session] = Signal(app, "session_changed")
        self._notices = notices

    def replace(self, session: Session) -> None:
        """From now on it is *session*, and all screens are told, if that says something else."""
        if session != self.value:
            self.value = session
            self.changed.publish(session)

    def may_change(self, what: str) -> bool:
        """Whether anything may be changed; if not, says that *what* is not done."""
        if self.value.readonly:
            self._notices.tell(f"{what}: this lamina is read only", severity="warning")
        return not self.value.readonly
