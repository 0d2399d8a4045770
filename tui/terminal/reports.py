"""What the leader of a terminal reports while its program is started or put back: one JSON object per line, through a pipe to the holder,
which passes it on to lamina.

The pipe is closed once the program runs or has failed. The terminal itself is used by the program alone.
"""

import json
import os
from contextlib import suppress
from typing import Any

from lamina.core.events import Event, Progress
from lamina.tui.terminal.holder import REPORTS


class Reports:
    """The leader's end."""

    def __init__(self) -> None:
        # Neither the program nor its children may keep it open.
        os.set_inheritable(REPORTS, False)

    def runs(self, pid: int, **result: object) -> None:
        """The program runs as *pid*. This is the last report."""
        self._tell({"runs": pid, **result})
        os.close(REPORTS)

    def failed(self, why: str, cancelled: bool = False, runs: int = 0) -> None:
        """It failed, for the reason *why*; *runs*: the pid of the program that runs here instead. This is the last report."""
        self._tell({"failed": why, "cancelled": cancelled, "runs": runs})
        os.close(REPORTS)

    def listen(self, event: Event) -> None:
        """A `Listener` of the engine."""
        if isinstance(event, Progress):
            self._tell({"progress": vars(event)})
        else:
            self._tell({"notice": event.text})

    def _tell(self, report: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the holder has ended, and our terminal with it
            os.write(REPORTS, json.dumps(report, default=str).encode() + b"\n")
