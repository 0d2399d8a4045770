"""Screen 5: what was asked of the engine, the log, and the command lines that do the same."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from lamina.tui.keys.keymap import JOB_KEYS
from lamina.tui.model.journal import Job
from lamina.tui.model.log import Entry
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets.job_columns import command_columns, job_columns, record
from lamina.tui.widgets.log_pane import LogPane
from lamina.tui.widgets.row_list import RowList
from lamina.tui.widgets.views import copy_row

if TYPE_CHECKING:
    from lamina.tui.model.log import Log

# How often the time that a running job has taken is updated.
_TICK_S = 0.5
_SOON_S = 0.05


class JobScreen(Frame):
    """Jobs, log, command log."""

    NAME = "jobs"
    BINDINGS: ClassVar = JOB_KEYS
    USEFUL: ClassVar = ("cancel_job", "copy", "app.save_view")

    def __init__(self, log: "Log") -> None:
        super().__init__()
        self._jobs: RowList[Job] = RowList(job_columns(), id, id="jobs")
        self._jobs.empty_text = "nothing was asked of the engine yet"
        self._commands: RowList[Job] = RowList(command_columns(), id, id="commands")
        self._commands.empty_text = "every operation shows here the command line that does the same"
        for rows in (self._jobs, self._commands):
            rows.record = record
        self._jobs_pane = Vertical(classes="pane", id="jobs-pane")
        self._jobs_pane.border_title = "jobs"
        self._log_pane = LogPane(log)
        self._growing = False

    def compose_body(self) -> Iterable[Widget]:
        """One below the other."""
        with Vertical(id="job-panes"):
            with self._jobs_pane:
                yield self._jobs
            yield self._log_pane
            with Vertical(classes="pane", id="commands-pane") as pane:
                pane.border_title = "command log"
                yield self._commands

    def opened(self) -> None:
        """Show what there is."""
        self.lamina.notices.grew.subscribe(self, self._log_grew)
        self.set_interval(_TICK_S, self._tick)
        self._jobs.focus()
        self.on_screen_resume()

    def on_screen_resume(self) -> None:
        """Show what has come while another screen was shown."""
        self.job_changed(None)
        self._log_pane.view.read()

    def job_changed(self, job: Job | None) -> None:
        """A job went on; the cursor goes to a new one."""
        if not self.is_current:
            return
        jobs = list(self.lamina.journal.jobs)
        fresh = bool(jobs) and len(jobs) != len(self._jobs.rows)
        self._jobs.show_rows(jobs, follow=id(jobs[0]) if fresh else None)
        commands = [each for each in jobs if each.command]
        fresh = bool(commands) and len(commands) != len(self._commands.rows)
        self._commands.show_rows(commands, follow=id(commands[0]) if fresh else None)

    def _log_grew(self, _entry: Entry) -> None:
        """Show new entries soon, but not one by one: many may come at once."""
        if self.is_current and not self._growing:
            self._growing = True
            self.set_timer(_SOON_S, self._show_log)

    def _show_log(self) -> None:
        self._growing = False
        self._log_pane.view.read()

    def _tick(self) -> None:
        if not self.is_current:
            return
        now = time.monotonic()
        runs = self.lamina.timed.runs.values()
        self._jobs_pane.border_subtitle = Content(" · ".join(f"{run.name} {run.pid} {run.text(now)}" for run in runs))
        if self.lamina.journal.running is not None:
            self._jobs.refresh()
            self._commands.refresh()

    @on(RowList.Chosen)
    def _show_in_log(self, event: RowList.Chosen) -> None:
        """Go to where the log begins to tell of a job."""
        self._log_pane.view.go_to_first_of(event.row.operation.title, event.row.began)

    @on(LogPane.PagerAsked)
    def _read_log(self) -> None:
        self.lamina.programs.read(self._log_pane.view.view().as_file(".txt"))

    def action_cancel_job(self) -> None:
        """Cancel the job under the cursor, elsewhere the one that runs."""
        job = self._jobs.row if self._jobs.has_focus else None
        if job is not None and job.over:
            job = None
        if not self.lamina.queue.cancel(job):
            self.notify("nothing runs and nothing waits", timeout=2)

    def action_copy(self) -> None:
        """The command line of the job under the cursor; in the log what the mouse marked, or the entry."""
        rows = next((rows for rows in (self._jobs, self._commands) if rows.has_focus), None)
        if rows is not None and rows.row is not None and not self.get_selected_text():
            self.lamina.copy(rows.row.command)
        else:
            copy_row(self.lamina)
