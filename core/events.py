"""What long work says while it goes on, and how it is asked to stop.

The engine calls a plain function with one of these values; the command line prints them to standard error, the TUI turns them into
messages. They are emitted from the thread that does the work, at most about 50 times a second.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lamina.core.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One moment of long work.

    Attributes:
        phase: what is being done now, in the field's words: "arm", "live round 2", "freeze", "write", "commit", "fill".
        done: pages finished in this phase.
        total: pages this phase will handle; 0 when not known.
        done_bytes: bytes moved so far in this phase.
        elapsed_us: µs since the work began.
    """

    phase: str
    done: int = 0
    total: int = 0
    done_bytes: int = 0
    elapsed_us: int = 0


@dataclass(frozen=True)
class Notice:
    """A sentence the user should read although the work goes on, as in "the tracker was lost: dumping all pages"."""

    text: str


Event = Progress | Notice
Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A listener for callers who do not watch."""


class CancelToken:
    """Asks work to stop. Checked between chunks; after the point of no return it has no effect, which `too_late` says."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._refuse: Callable[[], object] | None = None

    def cancel(self) -> None:
        """Ask the work to stop at its next check."""
        self._asked.set()
        if self._refuse is not None:
            # Who asks may be the handler of a signal that came while its thread was writing.
            threading.Thread(target=self._refuse, daemon=True).start()

    @property
    def goes_on(self) -> bool:
        """Whether asking has no effect any more."""
        return self._refuse is not None

    @contextmanager
    def too_late(self, refuse: Callable[[], object]) -> Iterator[None]:
        """A block that goes to its end whoever asks. *refuse* says so, in a thread of its own each time that somebody asks, and at once if
        somebody has.
        """
        self._refuse = refuse
        try:
            if self.cancelled:
                refuse()
            yield
        finally:
            self._refuse = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until asked to stop, at most *seconds*; returns `cancelled`."""
        return self._asked.wait(seconds)

    def check(self, what: str) -> None:
        """Raise `Cancelled` if asked to stop; *what* names the work, as in "dump of 4711"."""
        if self._asked.is_set():
            raise Cancelled(what, why="cancelled; nothing was changed")
