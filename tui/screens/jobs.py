"""Screen 5: what was asked of the engine, newest first, with its command line: the lasting record behind the toasts."""

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from lamina.tui import places
from lamina.tui.keymap import JOB_KEYS
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job
from lamina.tui.screens.frame import Frame
from lamina.tui.theme import DANGER
from lamina.tui.widgets.job_bar import progress_text
from lamina.tui.widgets.row_list import Column, RowList

_COLOUR = {journal.RUNNING: "warn", journal.DONE: "good", journal.FAILED: "danger", journal.CANCELLED: "dim"}


class JobScreen(Frame):
    """The jobs above, all that is known of one below."""

    WHERE = "jobs"
    BINDINGS: ClassVar = JOB_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._list: RowList[Job] = RowList(
            [
                Column("TIME", 8, lambda job: [(units.clock(job.began), "dim")]),
                Column("STATE", 9, lambda job: [(job.state, _COLOUR[job.state])]),
                Column("TOOK", 8, lambda job: [(_took(job), "")], right=True, keep=70),
                Column("COMMAND", 0, lambda job: [(places.short_line(job.command) or job.act.title, "")]),
            ],
            id,
            id="jobs",
        )
        self._detail = Static(id="detail-text")
        self._list.empty_text = "nothing was asked of the engine yet"

    def compose_body(self) -> Iterable[Widget]:
        """List above, detail below."""
        with Vertical(classes="pane", id="left") as pane:
            pane.border_title = "jobs and their command lines"
            yield self._list
        with VerticalScroll(classes="pane", id="job-detail", can_focus=False):
            yield self._detail

    def opened(self) -> None:
        """Show what there is."""
        self._list.focus()
        self.job_changed(None)

    def job_changed(self, job: Job | None) -> None:
        """A job went on; the cursor goes to a new one."""
        jobs = list(self.lamina.journal.jobs)
        fresh = bool(jobs) and len(jobs) != len(self._list.rows)
        self._list.show_rows(jobs, follow=id(jobs[0]) if fresh else None)
        self._show_detail()

    @on(RowList.Moved)
    def _show_detail(self) -> None:
        job = self._list.row
        self._detail.update(_describe(job) if job else Text())

    def action_copy(self) -> None:
        """The command line, to the clipboard."""
        if self._list.row is not None and self._list.row.command:
            self.app.copy_to_clipboard(self._list.row.command)
            self.notify("copied", timeout=2)


def _took(job: Job) -> str:
    return units.duration((job.ended - job.began) * 1e6) if job.ended else ""


def _describe(job: Job) -> Text:
    text = Text(job.act.title, style="bold")
    text.append(f"  {job.state}\n", style="not bold dim")
    if job.command:
        text.append(f"$ {job.command}\n", style="not bold")
    if job.state == journal.RUNNING and job.progress:
        text.append(f"{job.progress.phase}  {progress_text(job)}\n", style="not bold")
    if job.outcome:
        text.append(f"{job.outcome}\n", style=f"not bold {DANGER}" if job.state == journal.FAILED else "not bold")
    for notice in job.notices:
        text.append(f"· {notice}\n", style="not bold")
    return text
