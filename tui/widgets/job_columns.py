"""The columns of the list of jobs and of the command log."""

from lamina.tui import paths
from lamina.tui.model import journal, units
from lamina.tui.model.journal import Job
from lamina.tui.widgets.row_list import Cell, Column

_BAR = 12
# Fewer cells are of no use for a phase with its bar and rate, or for a command line.
_LEAST_WORK, _LEAST_COMMAND = 62, 56
_COLOUR = {
    journal.WAITING: "dim", journal.RUNNING: "bright", journal.DONE: "good", journal.FAILED: "danger", journal.CANCELLED: "dim",
}  # fmt: skip


def job_columns() -> list[Column[Job]]:
    """When, in which state, how long, and what: with its progress while it runs, then with what came of it."""
    return [
        Column("TIME", 8, lambda job: [(units.clock(job.began), "dim")], drop=2),
        Column("STATE", 9, _state),
        Column("TOOK", 8, _took, right=True, drop=1),
        Column("WORK", 0, _work, least=_LEAST_WORK),
    ]


def command_columns() -> list[Column[Job]]:
    """When, the command line that does the same, and what came of it."""
    return [
        Column("TIME", 8, lambda job: [(units.clock(job.began), "dim")], drop=1),
        Column("COMMAND", 0, lambda job: [(paths.short_line(job.command), "")], least=_LEAST_COMMAND),
        Column("STATE", 9, _state),
        Column("TOOK", 8, _took, right=True, drop=2),
    ]


def record(job: Job) -> dict[str, object]:
    """A job as it is exported, exact."""
    asked = job.operation
    return {
        "began": job.began, "ended": job.ended or None, "took_us": round(job.took_us), "state": job.state, "kind": asked.kind,
        "title": asked.title, "pid": asked.pid or None, "command": job.command, "outcome": job.outcome, "notices": job.notices,
    }  # fmt: skip


def _state(job: Job) -> Cell:
    return [(job.state, _COLOUR[job.state])]


def _took(job: Job) -> Cell:
    return [(units.duration(job.took_us) if job.state != journal.WAITING else "", "")]


def _work(job: Job) -> Cell:
    cell = [(job.operation.title, "bright")]
    if job.state == journal.RUNNING:
        return cell + _progress(job)
    if job.state == journal.WAITING:
        return [*cell, ("  follows what runs", "dim")]
    return [*cell, (f"  {paths.short_line(job.outcome)}", "danger" if job.state == journal.FAILED else "")]


def _progress(job: Job) -> list[tuple[str, str]]:
    """Phase, bar, share, rate, what is left, and how many pages: the most useful first, as the end may be cut."""
    progress = job.progress
    if progress is None:
        return [("  starts", "")]
    cell = [(f"  {progress.phase} ", "")]
    if progress.total and progress.done:
        full = round(_BAR * min(1.0, progress.done / progress.total))
        cell += [("━" * full, ""), ("╌" * (_BAR - full), "dim")]
        cell.append((f" {units.share(min(progress.done, progress.total), progress.total)}", ""))
    left_us = job.phase_us * (progress.total - progress.done) / progress.done if 0 < progress.done < progress.total else 0.0
    of = f" of {units.pages(progress.total)}" if progress.total else ""
    parts = (
        units.rate(progress.done_bytes, job.phase_us) if progress.done_bytes else "",
        f"{units.age(left_us / 1e6)} left" if left_us > 1e6 else "",
        f"{units.pages(progress.done)}{of} pages" if progress.done else f"{units.pages(progress.total)} pages" if progress.total else "",
    )
    return [*cell, *((f"  {part}", "") for part in parts if part)]
