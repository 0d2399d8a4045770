"""Hands operations to the engine, one after the other; keeps the journal of them, and tells what came of each."""

from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.signal import Signal

from lamina.tui import messages
from lamina.tui.bridge import Bridge
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job, Journal
from lamina.tui.model.log import Level
from lamina.tui.model.operation import Operation
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.notices import Notices
from lamina.tui.services.type_ahead import Expected, TypeAhead

# Kinds of operations that change nothing, not even by writing a file.
_READ_ONLY = ("plan", "verify")
# And those that end in a question.
_ASKS = ("plan",)

Ended = Callable[[Job, Any], None]


class OperationQueue:
    """What the engine does, is to do, and has done.

    Attributes:
        journal: all jobs of this lamina.
        changed: told of each job that begins, waits, goes on or ends.
        on_begin: called with an operation that was handed to the engine.
        on_end: called in this order with a job that has ended and its result, None if it failed: before screens are told, after that, and
            after the next operation was begun.
    """

    def __init__(self, app: App[Any], current: CurrentSession, bridge: Bridge, notices: Notices, type_ahead: TypeAhead) -> None:
        self.journal = Journal()
        self.changed: Signal[Job | None] = Signal(app, "jobs_changed")
        self.on_begin: Callable[[Operation], None] = lambda _operation: None
        self.on_end: tuple[Ended, Ended, Ended] = (_ignore, _ignore, _ignore)
        self._current = current
        self._bridge = bridge
        self._notices = notices
        self._type_ahead = type_ahead
        # The dry run whose question is waited for.
        self._expected: Expected | None = None

    def do(self, operation: Operation) -> bool:
        """Hand *operation* to the engine, or let it wait until what runs is over. False, and said why, if it will not be done."""
        if operation.kind not in _READ_ONLY and not self._current.may_change(operation.title):
            return False
        waiting = self.journal.waiting
        if any(job.operation.title == operation.title for job in waiting):
            self._notices.tell(f"{operation.title} is waiting already: c in the jobs (5) takes it back", severity="warning")
            return False
        busy = self._bridge.busy_with
        if busy is not None or waiting:
            self.changed.publish(self.journal.wait(operation))
            self._notices.tell(f"{operation.title} follows {busy.title if busy else 'those before it'}; c cancels what runs", timeout=3)
        else:
            self._begin(operation)
        return True

    def _begin(self, operation: Operation) -> None:
        self._bridge.start(operation)
        job = self.journal.begin(operation)
        self.changed.publish(job)
        self.on_begin(operation)
        if operation.kind in _ASKS:
            self._expected = self._type_ahead.expect(operation.title, lambda: job.over, leads=True, give_up=lambda: self.cancel(job))

    def ask_then(self, operation: Operation, result: Any) -> None:
        """Call `then` of *operation*. A question that is no longer waited for must not be answered by keys typed for something else."""
        then = operation.then
        if then is None:
            return
        if operation.kind in _ASKS:
            self._type_ahead.come(self._expected, operation.title, lambda: then(result))
        else:
            then(result)

    def _follow(self, after: Job) -> None:
        """The next one that waits. What was to follow something that did not happen, on the same process, does not happen either."""
        for job in self.journal.waiting:
            if after.state != journal.DONE and after.operation.pid and job.operation.pid == after.operation.pid:
                why = "was cancelled" if after.state == journal.CANCELLED else "failed"
                self.take_back(job, f"not done, as the {after.operation.title} before it {why}")
        if self._bridge.busy_with is None and self.journal.waiting:
            self._begin(self.journal.waiting[0].operation)

    def take_back(self, job: Job, why: str = "taken back before it began") -> None:
        """A job that waits is not done."""
        self.journal.end(job.operation, journal.CANCELLED, why)
        self._notices.note(Level.NOTICE, why, job.operation.title)
        self.changed.publish(job)

    def take_back_all(self) -> None:
        """Nothing follows any more: lamina is left."""
        for job in self.journal.waiting:
            self.take_back(job, "taken back, as lamina was left")

    def cancel(self, job: Job | None = None) -> bool:
        """Cancel *job*, or what runs; False if there is nothing to cancel."""
        if job is not None and job.state == journal.WAITING:
            self.take_back(job)
            return True
        running = self.journal.running
        if (job is not None and job is not running) or not self._bridge.cancel():
            return False
        self._notices.tell("asked to stop", title=running.operation.title if running else "", timeout=2)
        return True

    # -- what comes from the bridge --------------------------------------------------------------------------------------------------

    def started(self, message: messages.OperationStarted) -> None:
        """The command line is known."""
        job = self.journal.of(message.operation)
        job.command = message.command
        self._notices.note(Level.INFO, f"begins: {message.command}", message.operation.title)
        self.changed.publish(job)

    def progressed(self, message: messages.ProgressMade) -> None:
        """Work went on."""
        job = self.journal.of(message.operation)
        if job.state == journal.RUNNING:
            if job.progress is None or job.progress.phase != message.progress.phase:
                at = units.duration(message.progress.elapsed_us)
                self._notices.note(Level.DEBUG, f"{message.progress.phase}, {at} after it began", message.operation.title)
            job.progress, job.phase_us = message.progress, message.phase_us
            self.changed.publish(job)

    def noticed(self, message: messages.NoticeGiven) -> None:
        """A sentence to be read, once."""
        job = self.journal.of(message.operation)
        if message.text not in job.notices:
            job.notices.append(message.text)
            self._notices.note(Level.NOTICE, message.text, message.operation.title)
            self._notices.toast(message.text, severity="warning", timeout=8)
            self.changed.publish(job)

    def finished(self, message: messages.OperationFinished) -> None:
        """Done: the job bar says so."""
        for text in message.notices:
            self.noticed(messages.NoticeGiven(message.operation, text))
        job = self.journal.end(message.operation, journal.DONE, message.summary)
        self._notices.note(Level.INFO, f"{message.summary}; {units.duration(job.took_us)} in all", message.operation.title)
        self._end(job, message.result)

    def failed(self, message: messages.OperationFailed) -> None:
        """Refused, failed or cancelled: the engine's own words, as a toast, in the log and in the jobs."""
        state = journal.CANCELLED if message.cancelled else journal.FAILED
        job = self.journal.end(message.operation, state, message.text)
        self._notices.note(Level.NOTICE if message.cancelled else Level.ERROR, message.text, message.operation.title)
        self._notices.toast(message.text, message.operation.title, "information" if message.cancelled else "error", timeout=10)
        self._end(job, None)

    def _end(self, job: Job, result: Any) -> None:
        first, then, last = self.on_end
        first(job, result)
        self.changed.publish(job)
        then(job, result)
        self._follow(job)
        last(job, result)


def _ignore(_job: Job, _result: Any) -> None:
    """Do nothing."""
