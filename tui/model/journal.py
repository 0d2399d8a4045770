"""What the engine was asked to do in this session, newest first, each with its command line."""

import time
from dataclasses import dataclass, field

from lamina.core.events import Progress
from lamina.tui.model.operation import Operation

# Timed layers may go on for days.
KEEP = 2000
WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "ok", "failed", "cancelled"


@dataclass
class Job:
    """One operation and what came of it.

    Attributes:
        operation: what was asked.
        command: the command line that does the same; "" until the request is known.
        state: "waiting", "running", "ok", "failed" or "cancelled".
        outcome: the summary, or the engine's own words for what went wrong.
        notices: sentences the engine said meanwhile.
        progress: the newest, or None.
        phase_us: how long the present phase has taken, µs.
        began, ended: seconds since the epoch. While it waits, `began` is when it was asked for; `ended` is 0 until it is over.
    """

    operation: Operation
    command: str = ""
    state: str = RUNNING
    outcome: str = ""
    notices: list[str] = field(default_factory=list)
    progress: Progress | None = None
    phase_us: int = 0
    began: float = field(default_factory=time.time)
    ended: float = 0.0

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in (WAITING, RUNNING)

    @property
    def took_us(self) -> float:
        """How long it took or has taken so far, µs; 0 if it never ran."""
        return 0.0 if self.state == WAITING else ((self.ended or time.time()) - self.began) * 1e6


class Journal:
    """The jobs of this session.

    Attributes:
        jobs: newest first; of those that have ended only the newest `KEEP`.
        pids: the processes that they were about, including those of jobs that are no longer kept.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.pids: set[int] = set()

    @property
    def running(self) -> Job | None:
        """The job under way."""
        return next((job for job in self.jobs if job.state == RUNNING), None)

    @property
    def waiting(self) -> list[Job]:
        """Those that wait, in the order in which they will run."""
        return [job for job in reversed(self.jobs) if job.state == WAITING]

    @property
    def newest(self) -> Job | None:
        """The last one asked for."""
        return self.jobs[0] if self.jobs else None

    def begin(self, operation: Operation) -> Job:
        """An operation was handed to the engine, at once or after it had waited."""
        job = next((job for job in self.jobs if job.operation is operation), None)
        if job is None:
            job = self._add(Job(operation))
        job.state, job.began = RUNNING, time.time()
        return job

    def wait(self, operation: Operation) -> Job:
        """An operation will be handed to the engine after those before it."""
        return self._add(Job(operation, state=WAITING))

    def _add(self, job: Job) -> Job:
        self.jobs.insert(0, job)
        if job.operation.pid:
            self.pids.add(job.operation.pid)
        while len(self.jobs) > KEEP and self.jobs[-1].over:
            del self.jobs[-1]
        return job

    def of(self, operation: Operation) -> Job:
        """The job of *operation*; one is begun if it is unknown."""
        return next((job for job in self.jobs if job.operation is operation), None) or self.begin(operation)

    def end(self, operation: Operation, state: str, outcome: str) -> Job:
        """An operation came to its end."""
        job = self.of(operation)
        job.state, job.outcome, job.ended = state, outcome, time.time()
        return job
