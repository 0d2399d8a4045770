"""Timed layers: programs of which a layer is taken every so often while lamina runs. Each layer is an operation like any other."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamina.core.attach.identity import identify
from lamina.core.dump.rhythm import Rhythm, Timed, describe
from lamina.core.errors import LaminaError
from lamina.tui import messages, operations
from lamina.tui.bridge import Bridge
from lamina.tui.model import journal
from lamina.tui.model.journal import Job
from lamina.tui.model.log import Level
from lamina.tui.model.target import is_tracker
from lamina.tui.operations import command_lines
from lamina.tui.read.timed_run import TimedRun
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.notices import Notices
from lamina.tui.services.operation_queue import OperationQueue
from lamina.tui.services.reader import Reader
from lamina.tui.services.terminals import Terminals

# How often the clock is checked, and how often a target is read.
TICK_S = 0.25
_READ_S = 1.0


class TimedLayers:
    """All that run, at most one for each process.

    Attributes:
        runs: by pid.
    """

    def __init__(
        self,
        current: CurrentSession,
        bridge: Bridge,
        notices: Notices,
        queue: OperationQueue,
        reader: Reader,
        terminals: Terminals,
        show: Callable[[str], None],
    ) -> None:
        """*show* shows how it goes with those of the target; "" if there are none."""
        self.runs: dict[int, TimedRun] = {}
        self._current = current
        self._bridge = bridge
        self._notices = notices
        self._queue = queue
        self._reader = reader
        self._terminals = terminals
        self._show_text = show

    def begin(self, pid: int, name: str, stack: Path, rhythm: Rhythm) -> None:
        """Take layers of *pid* from now on."""
        try:
            run = TimedRun(pid, name, stack, Timed(rhythm, time.monotonic()), identify(pid))
        except LaminaError as error:
            self._notices.tell(str(error), severity="error")
            return
        self.runs[pid] = run
        self._reader.aim(pid, stack)
        self._notices.tell(f"{describe(rhythm)}; T ends it", title=run.title, timeout=4)
        self._notices.note(Level.INFO, f"the same without a screen: {command_lines.every_line(pid, stack, rhythm)}", run.title)
        self.tick()

    def end(self, pid: int, why: str = "", failed: bool = False) -> None:
        """Take no more layers of *pid*; the one under way is finished."""
        run = self.runs.pop(pid)
        if run.counter is not None and not run.reading:
            run.counter.close()
        count = f"after {run.timed.layers} layer{'' if run.timed.layers == 1 else 's'}"
        text = f"ended {count}" + (f": {why}" if why else "")
        self._notices.tell(text, title=run.title, severity="error" if failed else "information", timeout=8)
        self._show()

    def what_ends(self) -> list[str]:
        """After the screen closed: the runs that ended with it, and how to have them without it."""
        return [
            f"lamina: {run.title} have ended; "
            f"`{command_lines.every_line(run.pid, run.stack, run.timed.rhythm)}` takes them without the screen"
            for run in self.runs.values()
        ]

    def tick(self) -> None:
        """Check the clock."""
        now = time.monotonic()
        for run in list(self.runs.values()):
            # The beat itself is decided on a fresh count.
            if run.operation is None and not run.reading and (now - run.read_at >= _READ_S or run.timed.left(now) == 0):
                run.read_at, run.reading = now, True
                self._read(run)
        self._show()

    def _show(self) -> None:
        target = self._current.value.target
        run = self.runs.get(target.pid) if target is not None else None
        self._show_text(run.text(time.monotonic()) if run is not None else "")

    def _read(self, run: TimedRun) -> None:
        self._bridge.ask(run.title, lambda: messages.TimedRead(run, *run.read()))

    def read(self, message: messages.TimedRead) -> None:
        """One was read."""
        run, dirty, ended = message.run, message.dirty, message.ended
        run.reading = False
        if self.runs.get(run.pid) is not run:
            if run.counter is not None:
                run.counter.close()
            return
        if ended:
            self.end(run.pid, ended)
            return
        run.dirty = dirty
        now = time.monotonic()
        due = run.timed.due(now, dirty if run.timed.layers else None)
        if due is None or run.operation is not None:
            return
        busy = self._bridge.busy_with
        if due.skip:
            if run.timed.skip(due, now):
                self._notices.note(Level.NOTICE, f"{due.why}, but nothing was written: no layer until something is", run.title)
        elif busy is not None or self._queue.journal.waiting:
            if run.timed.skip(due, now, busy=True):
                self._notices.note(Level.NOTICE, f"{due.why}, but {busy.title if busy else 'other work'} goes on: no layer now", run.title)
        else:
            self._notices.note(Level.DEBUG, due.why, run.title)
            # Of a kind of its own: it does not make the process the target.
            operation = operations.dump(run.pid, run.name, run.stack, companion=self._terminals.companion_of(run.pid))
            operation = replace(operation, kind="timed")
            if self._queue.do(operation):
                run.due, run.operation = due, operation

    def over(self, job: Job, result: Any) -> None:
        """An operation came to its end."""
        thinned = next((run for run in self.runs.values() if run.thinning is job.operation), None)
        if thinned is not None:
            thinned.thinning = None
            thinned.taken = tuple(path for path in thinned.taken if path not in (result or ()))
        run = next((run for run in self.runs.values() if run.operation is job.operation), None)
        if run is None or run.due is None:
            return
        now, due = time.monotonic(), run.due
        run.operation = run.due = None
        if job.state == journal.CANCELLED:
            run.timed.skip(due, now)
        elif result is None:
            if run.timed.failed(due, now):
                times = f"{run.timed.failures} times, the last one" if run.timed.failures > 1 else "the first one"
                self.end(run.pid, f"it failed {times}: {job.outcome}", failed=True)
        elif run.timed.rhythm.dirtied is not None and not is_tracker(result.tracker):
            self.end(run.pid, "its memory cannot be tracked, so it is not known what it writes: give only a time", failed=True)
        else:
            run.timed.taken(due, now)
            run.taken += (result.images_dir,)
            self._thin(run)

    def _thin(self, run: TimedRun) -> None:
        keep = run.timed.rhythm.keep_last
        if keep is not None and len(run.taken) > keep and run.thinning is None:
            operation = operations.thin(f"{run.name} {run.pid}", run.taken, keep)
            # Not done, it is tried again after the next layer.
            run.thinning = operation if self._queue.do(operation) else None
