"""What the user is told: a toast on the screen, and the same for good in the log."""

import time
from typing import Any, Protocol

from textual.app import App
from textual.notifications import SeverityLevel
from textual.signal import Signal

from lamina.tui.model.log import Entry, Level, Log

_LEVELS: dict[SeverityLevel, Level] = {"information": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR}


class Toast(Protocol):
    """Textual's own `App.notify`."""

    def __call__(self, message: str, *, title: str, severity: SeverityLevel, timeout: float | None, markup: bool) -> None:
        """Show *message* for *timeout* seconds, None for the usual time."""


class Notices:
    """The log of one app, and its toasts.

    Attributes:
        log: all that was said.
        grew: each new entry of the log.
    """

    def __init__(self, app: App[Any], toast: Toast) -> None:
        self.log = Log()
        self.grew: Signal[Entry] = Signal(app, "log_grew")
        self._toast = toast
        self._usual_s = app.NOTIFICATION_TIMEOUT
        # Toasts on the screen, by title and text, and until when (time.monotonic).
        self._shown: dict[tuple[str, str], float] = {}

    def note(self, level: Level, text: str, about: str = "") -> None:
        """An entry of the log. Called on the event loop."""
        self.grew.publish(self.log.add(level, text, about))

    def tell(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """A toast, and the same in the log."""
        self.note(_LEVELS[severity], text, title)
        self.toast(text, title, severity, timeout)

    def toast(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """A toast only, for what is in the log already. While the same one is still shown, another would only cover more of the screen."""
        now = time.monotonic()
        if self._shown.get((title, text), 0.0) > now:
            return
        self._shown = {said: until for said, until in self._shown.items() if until > now}
        self._shown[title, text] = now + (self._usual_s if timeout is None else timeout)
        # No markup: the engine names things like [heap].
        self._toast(text, title=title, severity=severity, timeout=timeout, markup=False)
