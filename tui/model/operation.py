"""One thing a user can make the engine do: what it does, what it is called, what to say afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lamina.core.events import CancelToken, Event


class Work(Protocol):
    """What an operation is given while it runs in its own thread: where to report to, and whether to stop."""

    @property
    def cancel(self) -> CancelToken:
        """For the engine, which asks it now and then."""

    def announce(self, command: str) -> None:
        """Say which command line does the same. Called once the request is known."""

    def listen(self, event: Event) -> None:
        """The listener given to the engine."""

    def tell(self, message: Any) -> None:
        """Post one of `lamina.tui.messages` to the app before the operation is over."""


@dataclass(frozen=True)
class Operation:
    """One thing the engine is asked to do.

    Attributes:
        kind: the verb, as in "track", "dump", "restore", "drop"; "plan" for a dry run, which changes nothing.
        title: for people, as in "dump of redis-server 4711".
        run: does it. Called in a worker thread; it imports the engine there, so that the first screen need not wait for that.
        summarise: the result in one line.
        pid: the process it is about; 0 if none.
        then: called with the result once it is there, on the screen's own thread, as a dialog after a dry run.
    """

    kind: str
    title: str
    run: Callable[[Work], Any]
    summarise: Callable[[Any], str]
    pid: int = 0
    then: Callable[[Any], None] | None = None
