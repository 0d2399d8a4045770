"""Progress and cancelling of long work on files."""

import time

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import Cancelled
from lamina.core.events import CancelToken, Listener, Progress


class Work:
    """One run: counts bytes, tells the listener, and ends when it was cancelled.

    Attributes:
        what: the verb, as in "compress".
        obj: what it is about, for messages.
        total: bytes it will handle; may grow.
        done: bytes it has handled.
        listener, cancel: as given, for work that reports by itself.
        on_cancel: what a user who cancels is told.
    """

    def __init__(self, what: str, obj: str, listener: Listener, cancel: CancelToken | None) -> None:
        self.what = what
        self.obj = obj
        self.total = 0
        self.on_cancel = "cancelled; nothing was changed"
        self.done = 0
        self.listener = listener
        self.cancel = cancel
        self._begin = time.monotonic_ns()

    def step(self, count: int) -> None:
        """*count* bytes more are done.

        Raises:
            Cancelled: it is to stop.
        """
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled(self.what, self.obj, self.on_cancel)
        self.done += count
        self.listener(Progress(self.what, self.done // PAGE, self.total // PAGE, self.done, self.elapsed_us))

    @property
    def elapsed_us(self) -> int:
        """µs since it began."""
        return (time.monotonic_ns() - self._begin) // 1000
