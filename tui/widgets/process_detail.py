"""What is known of the process under the cursor, what prevents dumping it, and what the next dump would write."""

import time
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from lamina.core.attach.processes import ProcessInfo
from lamina.core.errors import Blocker
from lamina.tui.keys.keymap import SCROLL_KEYS
from lamina.tui.model import units
from lamina.tui.model.examined import Examined
from lamina.tui.model.layer_status import LayerStatus
from lamina.tui.model.process_list import ENDED
from lamina.tui.model.target import is_tracker
from lamina.tui.theme import DANGER, GOOD, WARM
from lamina.tui.widgets.flowing_text import FlowingText
from lamina.tui.widgets.process_columns import started

# One line each is enough of many.
_MOST_BLOCKERS = 12
_LONGEST_LINE = 160


class ProcessDetail(VerticalScroll):
    """The pane next to the tree."""

    BINDINGS: ClassVar = SCROLL_KEYS

    def __init__(self) -> None:
        super().__init__(classes="pane", id="process-detail")
        self._text = FlowingText(id="detail-text")
        self._described = Text()

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def show(self, process: ProcessInfo | None, examined: Examined | None, status: LayerStatus | None, terminal: str | None = None) -> None:
        """Describe *process*; *examined* is None until it was examined, *status* if it is neither tracked nor on a layer.

        *terminal*: who shows the terminal of lamina's that it runs in, "" for nobody; None if it runs in none.
        """
        self.border_title = Content(f"{process.name} {process.pid}" if process else "process")
        text = Text()
        if process is not None:
            line = " ".join(" ".join(process.cmdline).split()) or f"[{process.name}]"
            text.append(line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…", style="bold")
            text.append("\n")
            _who(text, process)
            if terminal is not None:
                text.append("▣ ", style="dim" if terminal else WARM)
                shown = f"shown by {terminal}" if terminal else "shown by no lamina"
                text.append(f"in a terminal of lamina's, {shown}; Enter shows it\n")
            text.append("\n")
            if process.protected == ENDED:
                text.append("✗ it has ended; its row disappears when the cursor leaves it\n", style=DANGER)
            elif process.protected:
                text.append("✗ lamina does not touch it: ", style="bold")
                text.append(process.protected + "\n")
            elif examined is None:
                text.append("examining it …\n", style="dim")
            elif examined.unreadable:
                text.append(f"✗ {examined.unreadable}\n", style=DANGER)
            else:
                _verdict(text, examined)
                text.append("\n")
                _next_dump(text, process, examined, status)
        if text != self._described:
            self._described = text
            self._text.update(text)


def _who(text: Text, process: ProcessInfo) -> None:
    began = started(process)
    threads = "1 thread" if process.threads == 1 else f"{process.threads} threads"
    text.append(f"started {units.clock(began)}, {units.age(time.time() - began)} ago", style="dim")
    text.append(f" · {process.user} · {threads} · {units.size(process.rss)} resident · child of {process.ppid}\n", style="dim")


def _verdict(text: Text, examined: Examined) -> None:
    tree = f", with {examined.tasks - 1:,} below it" if examined.tasks > 1 else ""
    if not examined.blockers:
        text.append("✓ can be dumped", style=GOOD)
    elif examined.shell_job:
        text.append("! can be dumped with --shell-job", style=WARM)
        text.append(", which d adds", style="dim")
    else:
        text.append("✗ cannot be dumped", style=DANGER)
    text.append(f"{tree}\n", style="dim")
    for blocker in examined.blockers[:_MOST_BLOCKERS]:
        _blocker(text, blocker, examined)
    if len(examined.blockers) > _MOST_BLOCKERS:
        text.append(f"and {len(examined.blockers) - _MOST_BLOCKERS} more: lamina check -t {examined.process.pid}\n", style="dim")
    if examined.kept:
        text.append("● ", style=GOOD)
        text.append(", ".join(examined.kept))
        text.append("  kept\n", style="dim")
    for note in examined.notes:
        text.append(f"· {note}\n", style="dim")


def _blocker(text: Text, blocker: Blocker, examined: Examined) -> None:
    text.append("● ", style=WARM if examined.shell_job else DANGER)
    if blocker.pid not in (0, examined.process.pid):
        text.append(f"{blocker.pid} ", style="dim")
    text.append(blocker.obj, style="bold")
    text.append(f"  {blocker.why}")
    if blocker.fix:
        text.append(f"\n→ {blocker.fix}", style="dim")
    text.append("\n")


def _next_dump(text: Text, process: ProcessInfo, examined: Examined, status: LayerStatus | None) -> None:
    layer, dirty = Path(process.layer_dir).name, status.dirty if status else None
    if not process.layer_dir:
        text.append("next dump: ", style="bold")
        text.append(f"the first is full, about {units.size(process.rss)}\n")
    elif not process.settled:
        text.append("next dump: ", style="bold")
        text.append(f"all of it, about {units.size(process.rss)}")
        text.append("; what changed is not known, the last dump was cut short\n", style="dim")
    elif dirty is not None:
        text.append("next dump: ", style="bold")
        text.append(f"{units.pages(dirty.pages)} pages, {units.size(dirty.bytes)}")
        text.append(f", about {units.duration(status.freeze_us)} frozen\n" if status and status.freeze_us else "\n")
        count = status.layers if status else 0
        text.append(f"on layer {layer}, one of {count} in its stack\n" if count > 1 else f"on layer {layer}\n", style="dim")
    else:
        text.append(f"on layer {layer}\n", style="dim")
    if is_tracker(process.tracker):
        text.append(f"tracked by {process.tracker}\n", style="dim")
    elif examined.tracker:
        text.append(f"not tracked (t); {examined.tracker} works here\n", style="dim")
    else:
        text.append(f"no tracker here: {examined.why_no_tracker}\n", style=WARM)
    if dirty is not None and dirty.per_second:
        text.append(dirty.graph, style=WARM)
        text.append(f" {units.count(dirty.per_second[-1])} newly dirty pages/s\n", style="dim")
