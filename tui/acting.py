"""The half of the app that acts: hands acts to the bridge, keeps the journal, and says what came of them."""

from typing import Any

from textual.signal import Signal

from lamina.tui import messages
from lamina.tui.acts import Act
from lamina.tui.bridge import Bridge
from lamina.tui.looks import LookingGood
from lamina.tui.model import journal
from lamina.tui.model.journal import Job, Journal
from lamina.tui.model.session import Session


class ActingApp(LookingGood):
    """An app that asks the engine to do things."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.journal = Journal()
        self.bridge = Bridge(self)
        self.jobs_changed: Signal[Job | None] = Signal(self, "jobs_changed")

    def begun(self, act: Act) -> None:
        """*act* was handed to the engine."""

    def acted(self, act: Act, result: Any) -> None:
        """*act* came to its end; *result* is None if it failed."""

    def do(self, act: Act) -> None:
        """Hand *act* to the engine, unless one is running or nothing may be changed."""
        if self.session.readonly and act.kind != "plan":
            self.notify(f"{act.title}: this lamina was started with --readonly", severity="warning")
        elif not self.bridge.start(act):
            busy = self.bridge.busy_with
            self.notify(f"{busy.title if busy else 'another act'} is still going on: c cancels it", severity="warning")
        else:
            self.jobs_changed.publish(self.journal.begin(act))
            self.begun(act)

    def on_act_started(self, message: messages.ActStarted) -> None:
        """The command line is known."""
        job = self.journal.of(message.act)
        job.command = message.command
        self.jobs_changed.publish(job)

    def on_progress_made(self, message: messages.ProgressMade) -> None:
        """Work went on."""
        job = self.journal.of(message.act)
        if job.state == journal.RUNNING:
            job.progress, job.phase_us = message.progress, message.phase_us
            self.jobs_changed.publish(job)

    def on_notice_given(self, message: messages.NoticeGiven) -> None:
        """A sentence to be read, once."""
        job = self.journal.of(message.act)
        if message.text not in job.notices:
            job.notices.append(message.text)
            self.notify(message.text, severity="warning", timeout=8)
            self.jobs_changed.publish(job)

    def on_act_finished(self, message: messages.ActFinished) -> None:
        """Done: the job bar says so."""
        for text in message.notices:
            self.on_notice_given(messages.NoticeGiven(message.act, text))
        act = message.act
        self.jobs_changed.publish(self.journal.end(act, journal.DONE, message.summary))
        self.acted(act, message.result)

    def on_act_failed(self, message: messages.ActFailed) -> None:
        """Refused, failed or cancelled: the engine's own words, as a toast and in the jobs."""
        state = journal.CANCELLED if message.cancelled else journal.FAILED
        self.jobs_changed.publish(self.journal.end(message.act, state, message.text))
        self.notify(message.text, title=message.act.title, severity="information" if message.cancelled else "error", timeout=10)
        self.acted(message.act, None)
