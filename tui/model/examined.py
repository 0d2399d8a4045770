"""What prevents dumping a process."""

from dataclasses import dataclass

from lamina.core.attach.identity import Identity
from lamina.core.attach.processes import ProcessInfo
from lamina.core.errors import Blocker


@dataclass(frozen=True)
class Examined:
    """What was found about one process.

    Attributes:
        process: as it was then.
        blockers: what prevents a dump without options.
        shell_job: with `--shell-job` nothing prevents it.
        notes: what a dump keeps or does that is worth knowing.
        kept: the descriptors that a dump keeps, by kind, as in "2 pipes"; only if it was examined closely.
        descriptors: their number; None if they may not be counted.
        tasks: processes in its tree.
        tracker: the tracker that would be used; "" if none works here.
        why_no_tracker: why none does.
        unreadable: why it could not be examined, in the engine's words; the rest means nothing then.
        closely: whether `kept` was found out.
        moment, took: when examining it ended, and how long it took; monotonic, s.
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
        """Whether it can be dumped: "✓" as it is, "!" with an option, "✗" not at all."""
        if self.unreadable:
            return "✗"
        return "✓" if not self.blockers else "!" if self.shell_job else "✗"

    def is_of(self, process: ProcessInfo) -> bool:
        """Whether this was found about *process*, and not about one that had its pid before or the program that it was before an exec."""
        then = self.process
        return (then.pid, then.start_time, then.name, then.cmdline) == (process.pid, process.start_time, process.name, process.cmdline)
