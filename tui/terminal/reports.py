"""What the leader of a terminal says while its program is started or put back: one JSON object a line, through a pipe to the holder, which
hands it on to lamina.

It is closed once the program runs or cannot; the terminal itself is the program's alone.
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
        # Neither the program nor what it starts may keep it open.
        os.set_inheritable(REPORTS, False)

    def runs(self, pid: int, **result: object) -> None:
        """The program runs as *pid*. Nothing more is said."""
        self._tell({"runs": pid, **result})
        os.close(REPORTS)

    def failed(self, why: str, cancelled: bool = False, runs: int = 0) -> None:
        """It came to nothing, in words; *runs*: the pid of the program that runs here instead. Nothing more is said."""
        self._tell({"failed": why, "cancelled": cancelled, "runs": runs})
        os.close(REPORTS)

    def listen(self, event: Event) -> None:
        """A `Listener` of the engine."""
        if isinstance(event, Progress):
            self._tell({"progress": vars(event)})
        else:
            self._tell({"notice": event.text})

    def _tell(self, report: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the holder is gone, and our terminal with it
            os.write(REPORTS, json.dumps(report, default=str).encode() + b"\n")
