"""Asks before a restore: what happens to the running program; the safe answer comes first."""

import os
from dataclasses import replace
from pathlib import Path

from lamina.core.attach.procfs import Stat, read_stat
from lamina.core.errors import TargetError
from lamina.core.restore.request import RestoreRequest
from lamina.tui import operations
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.operations import command_lines
from lamina.tui.services.base_app import BaseApp


def ask_restore(app: BaseApp, row: LayerRow) -> None:
    """Ask, then restore *row*. What is certain to be refused is refused without a question."""
    if not row.restorable:
        app.notify(f"layer {row.name} cannot be restored: {row.why}", severity="warning")
        return
    running = _running(row.pid)
    target = app.session.target
    name = target.name if target and target.pid == row.pid else running.comm if running is not None else row.program or "process"
    detach = not (row.shell_job or app.keeps_children)
    request = RestoreRequest(row.path, detach=detach, replace=running is not None, shell_job=row.shell_job)
    requests = {"restore": request}
    if running is not None:
        requests = {"kept": request, "restore": replace(request, rescue=False)}
        dirty = app.session.dirty
        changed = f", {units.pages(dirty.pages)} pages changed since its layer" if dirty and dirty.identity.pid == row.pid else ""
        lines = [
            f"{running.comm} {row.pid} is running (up {_uptime(running)}{changed}).",
            "It will be ended; its current state is lost unless it is dumped first.",
        ]
        choices = [
            Choice("kept", "Dump first, then restore", command=command_lines.restore_line(request)),
            Choice("restore", "Restore", danger=True, command=command_lines.restore_line(requests["restore"])),
        ]
    else:
        lines = [f"No process {row.pid} is running: the program starts again where layer {row.name} was taken."]
        choices = [Choice("restore", "Restore", command=command_lines.restore_line(request))]
    if row.shell_job:
        known = any(terminal.pid == row.pid for terminal in app.terminals.all)
        lines.append("Its terminal shows again what it showed then." if known else "It had a terminal, and gets one of lamina's own: 6.")
    lines.append("Files it has written since stay as they are: only the program goes back.")

    def answered(choice: str | None) -> None:
        if choice in requests:
            if row.shell_job:
                app.terminals.bring(operations.put_back(requests[choice], row.pid, name, app.program_screen().size_inside))
            else:
                app.do(operations.restore(requests[choice], row.pid, name))

    app.push_screen(Confirm(f"Restore layer {row.name} of {name} {row.pid}", lines, [Choice("cancel", "Cancel"), *choices]), answered)


def _uptime(stat: Stat) -> str:
    """How long a process has been running."""
    with Path("/proc/uptime").open() as file:
        now = float(file.read().split()[0])
    return units.age(now - stat.start_time / os.sysconf("SC_CLK_TCK"))


def _running(pid: int) -> Stat | None:
    """The process that has this pid now; None if none runs."""
    try:
        stat = read_stat(pid)
    except TargetError:
        return None
    return None if stat.state in "ZX" else stat
