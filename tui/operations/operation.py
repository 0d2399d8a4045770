"""One thing a user can make the engine do: the request, the command line, what to say afterwards.

The bridge calls `run` of an operation in a worker thread. The engine is imported there, so that the first screen does not wait for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.tui.bridge import Work


@dataclass(frozen=True)
class Operation:
    """One thing the engine is asked to do.

    Attributes:
        kind: the verb, as in "track", "dump", "restore", "drop"; "plan" for a dry run, which changes nothing.
        title: for people, as in "dump of redis-server 4711".
        run: does it; called in a worker thread.
        summarise: the result in one line.
        pid: the process it is about; 0 if none.
        then: called with the result once it is there, on the screen's own thread, as a dialog after a dry run.
    """

    kind: str
    title: str
    run: Callable[["Work"], Any]
    summarise: Callable[[Any], str]
    pid: int = 0
    then: Callable[[Any], None] | None = None
