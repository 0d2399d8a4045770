"""One line above the footer: the work that is under way with its progress, else the last command line and what came of it."""

import time

from rich.table import Table
from rich.text import Text
from textual.widget import Widget

from lamina.tui import paths
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job
from lamina.tui.theme import DANGER, GOOD

_BAR = 18
# Nobody can read updates that come faster.
_PAUSE_S = 0.1
_MARK = {journal.DONE: ("✓ ", GOOD), journal.FAILED: ("✗ ", DANGER), journal.CANCELLED: ("– cancelled ", "dim")}


class JobBar(Widget):
    """Progress, or the newest entry of the command log."""

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None
        self._painted = 0.0

    def show(self, job: Job | None) -> None:
        """Repaint for *job*; while it goes on, a few times a second."""
        goes_on = job is not None and job is self._job and job.state == journal.RUNNING
        self._job = job
        if not goes_on or time.monotonic() - self._painted >= _PAUSE_S:
            self._painted = time.monotonic()
            self.refresh()

    def render(self) -> Table | Text:
        """One line, whatever the width."""
        job = self._job
        if job is None:
            return Text(" every operation shows the command line that does the same", style="dim")
        left, right = (_work(job), Text("c cancel", style="bold")) if job.state == journal.RUNNING else _past(job)
        grid = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(left, right)
        return grid


def progress_text(job: Job) -> str:
    """ "61 %  160,000 of 262,144 pages  625 MiB  412 MiB/s  0.4 s left": as much of it as is known."""
    progress = job.progress
    if progress is None:
        return ""
    parts = []
    if progress.total and not progress.done:
        parts.append(f"{units.pages(progress.total)} pages")
    elif progress.total:
        parts.append(units.share(min(progress.done, progress.total), progress.total))
        parts.append(f"{units.pages(progress.done)} of {units.pages(progress.total)} pages")
    elif progress.done:
        parts.append(f"{units.pages(progress.done)} pages")
    if progress.done_bytes:
        parts.append(units.size(progress.done_bytes))
        parts.append(units.rate(progress.done_bytes, job.phase_us))
    if 0 < progress.done < progress.total:
        left_us = job.phase_us * (progress.total - progress.done) / progress.done
        parts.append(f"{units.age(left_us / 1e6)} left" if left_us > 1e6 else "")
    return "  ".join(part for part in parts if part)


def _work(job: Job) -> Text:
    line = Text(f" {job.operation.title} ", style="bold")
    progress = job.progress
    if progress is None:
        return line.append("starts", style="not bold dim")
    line.append(f"· {progress.phase} ", style="not bold")
    if progress.total and progress.done:
        full = round(_BAR * min(1.0, progress.done / progress.total))
        line.append("━" * full, style="not bold")
        line.append("╌" * (_BAR - full) + " ", style="not bold dim")
    return line.append(progress_text(job), style="not bold")


def _past(job: Job) -> tuple[Text, Text]:
    mark, colour = _MARK[job.state]
    if job.state == journal.FAILED:
        # What went wrong needs the line; the command is in the jobs.
        return Text(f" {mark}{paths.short_line(job.outcome)}", style=colour), Text("5 more", style="dim")
    left = Text(" $ ", style="dim")
    left.append(paths.short_line(job.command) or job.operation.title, style="not dim")
    right = Text(mark, style=colour)
    right.append(job.outcome if len(job.outcome) < 44 else job.outcome[:43] + "…", style="not dim")
    return left, right
