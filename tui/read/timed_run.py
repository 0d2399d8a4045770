"""One program with timed layers: when the next one is due, and what the program has written since the last."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import read_stat
from lamina.core.dump.rhythm import Due, Timed, describe
from lamina.core.errors import LaminaError
from lamina.tui.model import units
from lamina.tui.model.operation import Operation

if TYPE_CHECKING:
    from lamina.core.dump.dirtied import Dirtied


@dataclass(eq=False)
class TimedRun:
    """The timed layers of one program.

    Attributes:
        pid, name, stack: the program, and where its layers go.
        timed: when the next one is due.
        identity: who it was when this began.
        due, operation: the layer under way, if there is one.
        thinning: the operation that removes older ones, if it is under way or waits.
        taken: the layers taken so far that `keep_last` has not removed.
        dirty: bytes written since the last layer, as last counted.
        read_at: when it was read last (time.monotonic).
        reading: it is read just now, in a worker thread.
        counter: counts what it writes; made by the first reading.
    """

    pid: int
    name: str
    stack: Path
    timed: Timed
    identity: Identity
    due: Due | None = None
    operation: Operation | None = None
    thinning: Operation | None = None
    taken: tuple[Path, ...] = ()
    dirty: int | None = None
    read_at: float = 0.0
    reading: bool = False
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

    def read(self) -> tuple[int | None, str]:
        """How many bytes it has written since the last layer, and why there can be no more layers, "" if there can.

        Called in a worker thread.
        """
        try:
            if self.counter is None:
                from lamina.core.dump.dirtied import Dirtied

                self.counter = Dirtied(self.pid)
            return self.counter.count(), self._why_over()
        except (LaminaError, OSError) as error:
            return None, self._why_over() or str(error)

    def _why_over(self) -> str:
        try:
            if identify(self.pid) != self.identity:
                return f"{self.name} {self.pid} was put back, or another has its pid; T begins again"
            over = read_stat(self.pid).state in "ZX"
        except LaminaError:
            over = True
        return f"{self.name} {self.pid} has ended" if over else ""
