"""Reads for the process screen, called in worker threads: the table of processes, and what stands in the way of dumping one."""

import os
import threading
from dataclasses import dataclass, field

from lamina.core.attach.identity import Identity
from lamina.core.attach.processes import ProcessInfo, ProcessTable
from lamina.core.errors import Blocker, LaminaError
from lamina.tui.model.target import known_states


@dataclass(frozen=True)
class Processes:
    """All processes at one moment, and the load of the last minute."""

    rows: tuple[ProcessInfo, ...] = ()
    load: float = 0.0
    by_pid: dict[int, ProcessInfo] = field(default_factory=dict)


@dataclass(frozen=True)
class Examined:
    """What a look at one process found.

    Attributes:
        identity: whose it is.
        blockers: what stands in the way, with no option given.
        shell_job: with `--shell-job` nothing of it is left in the way.
        notes: what a dump keeps or does, worth knowing.
        tracker: the tracker that would be used; "" if none works here.
        why_no_tracker: why none does.
        unreadable: why it could not be looked at, in the engine's words; then the rest means nothing.
    """

    identity: Identity
    blockers: tuple[Blocker, ...] = ()
    shell_job: bool = False
    notes: tuple[str, ...] = ()
    tracker: str = ""
    why_no_tracker: str = ""
    unreadable: str = ""

    @property
    def mark(self) -> str:
        """ "✓" as it is, "!" with an option, "✗" not at all."""
        if self.unreadable:
            return "✗"
        return "✓" if not self.blockers else "!" if self.shell_job else "✗"


class ProcessReader:
    """The process table, read again and again. Readings may overlap; the table may not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: ProcessTable | None = None

    def read(self) -> Processes:
        """The processes now."""
        with self._lock:
            if self._table is None:
                self._table = ProcessTable(known_states)
            rows = self._table.refresh()
        return Processes(rows, os.getloadavg()[0], {row.pid: row for row in rows})


def examine(process: ProcessInfo) -> Examined:
    """What stands in the way of dumping *process*; touches nothing."""
    from lamina.core.dump.preflight import examine as look

    try:
        plain = look(process.pid)
        shell_job = needs_shell_job(process.pid)
    except LaminaError as error:
        return Examined(process.identity, unreadable=str(error))
    tracker = plain.tracker
    return Examined(
        process.identity, tuple(plain.blockers), shell_job, tuple(str(note) for note in plain.notes),
        tracker.name if tracker.available else "", "" if tracker.available else tracker.reason,
    )  # fmt: skip


def needs_shell_job(pid: int) -> bool:
    """Whether *pid* can be dumped with `--shell-job` only: it belongs to a session or a terminal of somebody else.

    Raises:
        LaminaError: it is gone, or may not be read.
    """
    from lamina.core.dump.preflight import examine as look

    return bool(look(pid).blockers) and not look(pid, shell_job=True).blockers
