"""What long work says while it goes on, and how it is asked to stop.

The engine calls a plain function with one of these values; the command line prints them to standard error, the TUI turns them into
messages. They are emitted from the thread that does the work, at most about 50 times a second.
"""

import mmap
import threading
import time
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


_INTERVAL_NS = 1_000_000_000 // 50


class Meter:
    """Counts the bytes of one phase and tells a listener, at most 50 times a second. May be used from several threads.

    Attributes:
        done: bytes so far.
    """

    def __init__(
        self, phase: str, listener: Listener = ignore, cancel: CancelToken | None = None, what: str = "", total: int = 0, began_ns: int = 0
    ) -> None:
        """*what* names the work when it is cancelled, as in "verify of S/2". *total*: bytes. *began_ns*: CLOCK_MONOTONIC, 0 for now."""
        self.done = 0
        self._phase, self._listener, self._cancel, self._what = phase, listener, cancel, what
        self._total = total
        self._began = began_ns or time.monotonic_ns()
        self._told = 0
        self._lock = threading.Lock()

    def expect(self, size: int) -> None:
        """Add *size* bytes to the total."""
        self._total += size

    def step(self, size: int) -> None:
        """*size* more bytes are done.

        Raises:
            Cancelled: as asked.
        """
        if self._cancel:
            self._cancel.check(self._what)
        with self._lock:
            self.done += size
            now = time.monotonic_ns()
            if now - self._told < _INTERVAL_NS and self.done < self._total:
                return
            self._told = now
            page = mmap.PAGESIZE
            pages = min(self.done, self._total or self.done) // page
            event = Progress(self._phase, pages, self._total // page, self.done, (now - self._began) // 1000)
        self._listener(event)
