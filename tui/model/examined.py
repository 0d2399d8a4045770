"""What stands in the way of dumping a process."""

from dataclasses import dataclass

from lamina.core.attach.identity import Identity
from lamina.core.attach.processes import ProcessInfo
from lamina.core.errors import Blocker


@dataclass(frozen=True)
class Examined:
    """What a look at one process found.

    Attributes:
        process: as it was then.
        blockers: what stands in the way, with no option given.
        shell_job: with `--shell-job` nothing of it is left in the way.
        notes: what a dump keeps or does, worth knowing.
        kept: its descriptors that are no hindrance, by kind, as in "2 pipes"; only of one that was looked at closely.
        descriptors: their number; None if they may not be counted.
        tasks: processes in its tree.
        tracker: the tracker that would be used; "" if none works here.
        why_no_tracker: why none does.
        unreadable: why it could not be looked at, in the engine's words; then the rest means nothing.
        closely: whether `kept` was looked at.
        moment, took: when the look ended, and how long it took; monotonic seconds.
    """

    process: ProcessInfo
    blockers: tuple[Blocker, ...] = ()
    shell_job: bool = False
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    descriptors: int | None = None
    tasks: int = 1
    tracker: str = ""
    why_no_tracker: str = ""
    unreadable: str = ""
    closely: bool = False
    moment: float = 0.0
    took: float = 0.0

    @property
    def identity(self) -> Identity:
        """Whose it is."""
        return self.process.identity

    @property
    def mark(self) -> str:
        """ "✓" as it is, "!" with an option, "✗" not at all."""
        if self.unreadable:
            return "✗"
        return "✓" if not self.blockers else "!" if self.shell_job else "✗"

    def is_of(self, process: ProcessInfo) -> bool:
        """Whether it was found of this process, and not of one that had its pid before or of the program it was before an exec."""
        then = self.process
        return (then.pid, then.start_time, then.name, then.cmdline) == (process.pid, process.start_time, process.name, process.cmdline)
