"""The part of the app that asks the engine for work: one operation after the other, kept in journal and log, with what came of each."""

import time
from typing import Any

from textual.notifications import SeverityLevel
from textual.signal import Signal

from lamina.tui import messages
from lamina.tui.app.keyboard import KeyboardApp
from lamina.tui.app.type_ahead import Expected
from lamina.tui.bridge import Bridge
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job, Journal
from lamina.tui.model.log import Entry, Level, Log
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session

_LEVELS: dict[SeverityLevel, Level] = {"information": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR}


# Kinds of operations that change nothing, not even by writing a file.
_READ_ONLY = ("plan", "verify")
# And those that end in a question.
_ASKS = ("plan",)


class ActingApp(KeyboardApp):
    """An app that asks the engine to do things."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.settings)
        self.session = session
        self.journal = Journal()
        # Not `log`, which Textual has for its own console.
        self.logbook = Log()
        self.bridge = Bridge(self)
        self.jobs_changed: Signal[Job | None] = Signal(self, "jobs_changed")
        self.log_grew: Signal[Entry] = Signal(self, "log_grew")
        # Toasts on the screen, by title and text, and until when (time.monotonic).
        self._said: dict[tuple[str, str], float] = {}
        # The dry run whose question is waited for.
        self._expected: Expected | None = None

    def begun(self, operation: Operation) -> None:
        """*operation* was handed to the engine."""

    def acted(self, operation: Operation, result: Any) -> None:
        """*operation* came to its end; *result* is None if it failed."""

    # What is told, and kept

    def note(self, level: Level, text: str, about: str = "") -> None:
        """An entry of the log. Called on the event loop."""
        self.log_grew.publish(self.logbook.add(level, text, about))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """A toast, and the same for good in the log. Not markup: the engine names things like [heap]."""
        self.note(_LEVELS[severity], message, title)
        self._toast(message, title, severity, timeout)

    def _toast(self, text: str, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """What is in the log already. Said again while it is still to be read, it would only cover more of the screen."""
        now = time.monotonic()
        if self._said.get((title, text), 0.0) > now:
            return
        self._said = {said: until for said, until in self._said.items() if until > now}
        self._said[title, text] = now + (self.NOTIFICATION_TIMEOUT if timeout is None else timeout)
        super().notify(text, title=title, severity=severity, timeout=timeout, markup=False)

    # Operations

    def may_change(self, what: str) -> bool:
        """Whether anything may be changed; says why *what* is not done if not."""
        if self.session.readonly:
            self.notify(f"{what}: this lamina is read only", severity="warning")
        return not self.session.readonly

    def do(self, operation: Operation) -> bool:
        """Hand *operation* to the engine, or let it wait until what runs is over. False, and said why, if it will not be done."""
        if operation.kind not in _READ_ONLY and not self.may_change(operation.title):
            return False
        waiting = self.journal.waiting
        if any(job.operation.title == operation.title for job in waiting):
            self.notify(f"{operation.title} is waiting already: c in the jobs (5) takes it back", severity="warning")
            return False
        busy = self.bridge.busy_with
        if busy is not None or waiting:
            self.jobs_changed.publish(self.journal.wait(operation))
            self.notify(f"{operation.title} follows {busy.title if busy else 'those before it'}; c cancels what runs", timeout=3)
        else:
            self._start(operation)
        return True

    def _start(self, operation: Operation) -> None:
        self.bridge.start(operation)
        job = self.journal.begin(operation)
        self.jobs_changed.publish(job)
        self.begun(operation)
        if operation.kind in _ASKS:
            self._expected = self.type_ahead.expect(operation.title, lambda: job.over, leads=True, give_up=lambda: self.cancel(job))

    def ask_then(self, operation: Operation, result: Any) -> None:
        """What *operation* leads to. A question that nobody waits for any more must not be answered by what is typed for something else."""
        then = operation.then
        if then is None:
            return
        if operation.kind in _ASKS:
            self.type_ahead.come(self._expected, operation.title, lambda: then(result))
        else:
            then(result)

    def _follow(self, after: Job) -> None:
        """The next one that waits. What was to follow something that did not happen, on the same process, does not happen either."""
        for job in self.journal.waiting:
            if after.state != journal.DONE and after.operation.pid and job.operation.pid == after.operation.pid:
                why = "was cancelled" if after.state == journal.CANCELLED else "failed"
                self.take_back(job, f"not done, as the {after.operation.title} before it {why}")
        if self.bridge.busy_with is None and self.journal.waiting:
            self._start(self.journal.waiting[0].operation)

    def take_back(self, job: Job, why: str = "taken back before it began") -> None:
        """A job that waits is not done."""
        self.journal.end(job.operation, journal.CANCELLED, why)
        self.note(Level.NOTICE, why, job.operation.title)
        self.jobs_changed.publish(job)

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
        if (job is not None and job is not running) or not self.bridge.cancel():
            return False
        self.notify("asked to stop", title=running.operation.title if running else "", timeout=2)
        return True

    def on_operation_started(self, message: messages.OperationStarted) -> None:
        """The command line is known."""
        job = self.journal.of(message.operation)
        job.command = message.command
        self.note(Level.INFO, f"begins: {message.command}", message.operation.title)
        self.jobs_changed.publish(job)

    def on_progress_made(self, message: messages.ProgressMade) -> None:
        """Work went on."""
        job = self.journal.of(message.operation)
        if job.state == journal.RUNNING:
            if job.progress is None or job.progress.phase != message.progress.phase:
                at = units.duration(message.progress.elapsed_us)
                self.note(Level.DEBUG, f"{message.progress.phase}, {at} after it began", message.operation.title)
            job.progress, job.phase_us = message.progress, message.phase_us
            self.jobs_changed.publish(job)

    def on_notice_given(self, message: messages.NoticeGiven) -> None:
        """A sentence to be read, once."""
        job = self.journal.of(message.operation)
        if message.text not in job.notices:
            job.notices.append(message.text)
            self.note(Level.NOTICE, message.text, message.operation.title)
            self._toast(message.text, severity="warning", timeout=8)
            self.jobs_changed.publish(job)

    def on_operation_finished(self, message: messages.OperationFinished) -> None:
        """Done: the job bar says so."""
        for text in message.notices:
            self.on_notice_given(messages.NoticeGiven(message.operation, text))
        job = self.journal.end(message.operation, journal.DONE, message.summary)
        self.note(Level.INFO, f"{message.summary}; {units.duration(job.took_us)} in all", message.operation.title)
        self.over(job, message.result)

    def on_operation_failed(self, message: messages.OperationFailed) -> None:
        """Refused, failed or cancelled: the engine's own words, as a toast, in the log and in the jobs."""
        state = journal.CANCELLED if message.cancelled else journal.FAILED
        job = self.journal.end(message.operation, state, message.text)
        self.note(Level.NOTICE if message.cancelled else Level.ERROR, message.text, message.operation.title)
        self._toast(message.text, message.operation.title, "information" if message.cancelled else "error", timeout=10)
        self.over(job, None)

    def over(self, job: Job, result: Any) -> None:
        """A job came to its end; *result* is None if it failed."""
        self.jobs_changed.publish(job)
        self.acted(job.operation, result)
        self._follow(job)
