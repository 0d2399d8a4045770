"""Timed layers: programs of which a layer is taken every so often while lamina runs. Each layer is an operation like any other."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import read_stat
from lamina.core.dump.rhythm import Due, Rhythm, Timed, describe
from lamina.core.errors import LaminaError
from lamina.tui import messages, operations
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job
from lamina.tui.model.log import Level
from lamina.tui.model.target import is_tracker
from lamina.tui.operations import command_lines
from lamina.tui.screens.frame import Frame

if TYPE_CHECKING:
    from lamina.core.dump.dirtied import Dirtied
    from lamina.tui.app.lamina import LaminaApp
    from lamina.tui.model.operation import Operation

# How often the clock is looked at, and how often a target.
TICK_S = 0.25
_LOOK_S = 1.0


@dataclass(eq=False)
class Run:
    """The timed layers of one program.

    Attributes:
        pid, name, stack: the program, and where its layers go.
        timed: when the next one is due.
        identity: who it was when this began.
        due, operation: the layer under way, if there is one.
        thinning: the operation that removes older ones, if it is under way or waits.
        taken: the layers taken so far that `keep_last` has not removed.
        dirty: bytes written since the last layer, as last counted.
    """

    pid: int
    name: str
    stack: Path
    timed: Timed
    identity: Identity
    due: Due | None = None
    operation: "Operation | None" = None
    thinning: "Operation | None" = None
    taken: tuple[Path, ...] = ()
    dirty: int | None = None
    looked: float = 0.0
    looking: bool = False
    counter: "Dirtied | None" = None

    @property
    def title(self) -> str:
        """As in "timed layers of redis-server 4711"."""
        return f"timed layers of {self.name} {self.pid}"

    def text(self, now: float) -> str:
        """For the title bar: "every 30 s · next in 12 s"."""
        rhythm = describe(self.timed.rhythm)
        left = self.timed.left(now)
        if self.operation is not None:
            return f"{rhythm} · now"
        if left is not None:
            return f"{rhythm} · next in {units.age(left)}"
        return f"{rhythm} · {units.size(self.dirty or 0)} so far"

    def look(self) -> messages.TimedRead:
        """Does it still run, and what has it written? Called in a worker thread."""
        try:
            if self.counter is None:
                from lamina.core.dump.dirtied import Dirtied

                self.counter = Dirtied(self.pid)
            return messages.TimedRead(self, self.counter.count(), self._why_over())
        except (LaminaError, OSError) as error:
            return messages.TimedRead(self, None, self._why_over() or str(error))

    def _why_over(self) -> str:
        """Why there can be no more layers, "" if there can."""
        try:
            if identify(self.pid) != self.identity:
                return f"{self.name} {self.pid} was put back, or another has its pid; T begins anew"
            over = read_stat(self.pid).state in "ZX"
        except LaminaError:
            over = True
        return f"{self.name} {self.pid} has ended" if over else ""


class TimedLayers:
    """All that run, at most one for each process."""

    def __init__(self, app: "LaminaApp") -> None:
        self._app = app
        self.runs: dict[int, Run] = {}

    def begin(self, pid: int, name: str, stack: Path, rhythm: Rhythm) -> None:
        """Take layers of *pid* from now on."""
        try:
            run = Run(pid, name, stack, Timed(rhythm, time.monotonic()), identify(pid))
        except LaminaError as error:
            self._app.notify(str(error), severity="error")
            return
        self.runs[pid] = run
        self._app.reader.aim(pid, stack)
        self._app.notify(f"{describe(rhythm)}; T ends it", title=run.title, timeout=4)
        self._app.note(Level.INFO, f"the same without a screen: {command_lines.every_line(pid, stack, rhythm)}", run.title)
        self.tick()

    def end(self, pid: int, why: str = "", failed: bool = False) -> None:
        """Take no more layers of *pid*; the one under way is finished."""
        run = self.runs.pop(pid)
        if run.counter is not None and not run.looking:
            run.counter.close()
        count = f"after {run.timed.layers} layer{'' if run.timed.layers == 1 else 's'}"
        text = f"ended {count}" + (f": {why}" if why else "")
        self._app.notify(text, title=run.title, severity="error" if failed else "information", timeout=8)
        self._show()

    def what_ends(self) -> list[str]:
        """After the screen closed: the runs that ended with it, and how to have them without it."""
        return [
            f"lamina: {run.title} have ended; "
            f"`{command_lines.every_line(run.pid, run.stack, run.timed.rhythm)}` takes them without the screen"
            for run in self.runs.values()
        ]

    def tick(self) -> None:
        """Look at the clock."""
        now = time.monotonic()
        for run in list(self.runs.values()):
            # The beat itself is decided on a fresh count.
            if run.operation is None and not run.looking and (now - run.looked >= _LOOK_S or run.timed.left(now) == 0):
                run.looked, run.looking = now, True
                self._app.bridge.ask(run.title, run.look)
        self._show()

    def _show(self) -> None:
        """In the title of the screen that is seen."""
        target = self._app.session.target
        run = self.runs.get(target.pid) if target is not None else None
        for screen in self._app.screen_stack[-1:]:  # none while the app ends
            if isinstance(screen, Frame):
                screen.title_bar.show_timed(run.text(time.monotonic()) if run is not None else "")

    def looked(self, run: Run, dirty: int | None, ended: str) -> None:
        """A look came back; *ended* says why there can be no more layers, "" if there can."""
        run.looking = False
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
        busy = self._app.bridge.busy_with
        if due.skip:
            if run.timed.skip(due, now):
                self._app.note(Level.NOTICE, f"{due.why}, but nothing was written: no layer until something is", run.title)
        elif busy is not None or self._app.journal.waiting:
            if run.timed.skip(due, now, busy=True):
                self._app.note(Level.NOTICE, f"{due.why}, but {busy.title if busy else 'other work'} goes on: no layer now", run.title)
        else:
            self._app.note(Level.DEBUG, due.why, run.title)
            # Of a kind of its own: it does not make the process the target.
            operation = operations.dump(run.pid, run.name, run.stack, companion=self._app.companion_of(run.pid))
            operation = replace(operation, kind="timed")
            if self._app.do(operation):
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
            self.end(run.pid, "its memory cannot be tracked, so nobody knows what it has written: give only a time", failed=True)
        else:
            run.timed.taken(due, now)
            run.taken += (result.images_dir,)
            self._thin(run)

    def _thin(self, run: Run) -> None:
        keep = run.timed.rhythm.keep_last
        if keep is not None and len(run.taken) > keep and run.thinning is None:
            operation = operations.thin(f"{run.name} {run.pid}", run.taken, keep)
            # Not done, it is tried again after the next layer.
            run.thinning = operation if self._app.do(operation) else None
