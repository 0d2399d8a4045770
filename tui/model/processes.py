"""The table of processes at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lamina.core.attach.processes import ProcessInfo


@dataclass(frozen=True)
class Processes:
    """All processes at one moment.

    Attributes:
        rows, by_pid: the processes, ascending by pid.
        load: of the last minute.
        texts: what a filter searches, for each.
        cpu: per cent of one processor since the reading before, for those that used any.
        unasked: how many rows still lack user and command line.
        since: when they were read, even if psutil was asked about them later; monotonic, s.
        took: how long it took to read them, s.
    """

    rows: tuple[ProcessInfo, ...] = ()
    load: float = 0.0
    by_pid: dict[int, ProcessInfo] = field(default_factory=dict)
    texts: Sequence[tuple[int, str]] = ()
    cpu: dict[int, float] = field(default_factory=dict)
    unasked: int = 0
    since: float = -1.0
    took: float = 0.0
