"""What is known of the process under the cursor, and what stands in the way of dumping it."""

import time
from functools import cache
from pathlib import Path

import psutil
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from lamina.core.attach.processes import ProcessInfo
from lamina.tui.model import units
from lamina.tui.model.target import is_tracker
from lamina.tui.read.dirty import Dirty
from lamina.tui.read.process import Examined
from lamina.tui.theme import DANGER, GOOD, WARM


class ProcessDetail(VerticalScroll, can_focus=False):
    """The pane beside the tree."""

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._text = Static(id="detail-text")

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def show(self, process: ProcessInfo | None, examined: Examined | None, dirty: Dirty | None) -> None:
        """Describe *process*; *examined* is None until it was looked at; *dirty* may be another's."""
        self.border_title = f"{process.name} {process.pid}" if process else "process"
        text = Text()
        if process is not None:
            text.append(" ".join(process.cmdline) or f"[{process.name}]", style="bold")
            text.append("\n")
            if process.protected:
                text.append("✗ lamina does not touch it: ", style="bold")
                text.append(process.protected + "\n")
            elif examined is None or examined.identity.start_time != process.start_time:
                text.append("looking at it …\n", style="dim")
            elif examined.unreadable:
                text.append(f"{examined.unreadable}\n", style=DANGER)
            else:
                _verdict(text, examined)
                _next_dump(text, process, examined)
            if dirty is not None and dirty.identity == process.identity:
                _written(text, dirty)
            _who(text, process)
        self._text.update(text)


@cache
def _boot_time() -> float:
    return psutil.boot_time()


@cache
def _ticks_a_second() -> int:
    import os

    return os.sysconf("SC_CLK_TCK")


def _who(text: Text, process: ProcessInfo) -> None:
    began = _boot_time() + process.start_time / _ticks_a_second()
    text.append(f"\nstarted {units.clock(began)}, {units.age(time.time() - began)} ago by {process.user}", style="dim")
    threads = "1 thread" if process.threads == 1 else f"{process.threads} threads"
    text.append(f"\n{threads}, {units.size(process.rss)} resident, child of {process.ppid}\n", style="dim")


def _verdict(text: Text, examined: Examined) -> None:
    if not examined.blockers:
        text.append("✓ can be dumped\n", style=GOOD)
    elif examined.shell_job:
        text.append("! can be dumped as a shell job (--shell-job)\n", style=WARM)
    else:
        text.append("✗ cannot be dumped\n", style=DANGER)
    for blocker in examined.blockers:
        text.append(f"  ● {blocker.obj}", style="bold")
        text.append(f"  {blocker.why}")
        if blocker.fix:
            text.append(f"\n    {blocker.fix}", style="dim")
        text.append("\n")
    for note in examined.notes:
        text.append(f"  · {note}\n", style="dim")


def _next_dump(text: Text, process: ProcessInfo, examined: Examined) -> None:
    if process.layer_dir:
        text.append(f"stands on layer {Path(process.layer_dir).name}", style="bold")
        settled = "the next dump holds what changed since" if process.settled else "what changed is not known: the next dump writes all"
        text.append(f"; {settled}\n", style="dim")
    else:
        text.append("on no layer yet: the first dump is full\n", style="dim")
    if is_tracker(process.tracker):
        text.append(f"tracked by {process.tracker}\n", style="dim")
    elif examined.tracker:
        text.append(f"not tracked; {examined.tracker} works here\n", style="dim")
    else:
        text.append(f"no tracker here: {examined.why_no_tracker}\n", style=WARM)


def _written(text: Text, dirty: Dirty) -> None:
    text.append(f"* {units.pages(dirty.pages)} pages", style=f"bold {WARM}")
    text.append(f" changed since, {units.size(dirty.bytes)}\n", style=WARM)
    if dirty.per_second:
        text.append(dirty.graph, style=WARM)
        text.append(f" {units.count(dirty.per_second[-1])} newly dirty pages/s\n", style="dim")
