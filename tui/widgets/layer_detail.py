"""What is known of the layer under the cursor."""

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.read.dirty import Dirty
from lamina.tui.theme import DANGER, GOOD, WARM

_BAR = 20


class LayerDetail(VerticalScroll, can_focus=False):
    """The pane beside the layers."""

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._text = Static(id="detail-text")

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def show(self, row: LayerRow | None, stands_on: bool, dirty: Dirty | None) -> None:
        """Describe *row*; *stands_on*: the running target's next dump is an increment of it; *dirty*: what it wrote since."""
        self.border_title = "layer" if row is None else f"layer {row.name}" + (f' "{row.label}"' if row.label else "")
        self._text.update(Text() if row is None else _describe(row, stands_on, dirty))


def _describe(row: LayerRow, stands_on: bool, dirty: Dirty | None) -> Text:
    text = Text()
    if dirty is not None:
        text.append(f"* {units.pages(dirty.pages)} pages", style=f"bold {WARM}")
        text.append(f" changed since ({units.size(dirty.bytes)})\n", style=WARM)
    elif stands_on:
        text.append("◂ the program stands here\n", style="dim")
    if not row.time:
        return text.append(row.why, style=DANGER)
    text.append(units.clock(row.time), style="bold")
    text.append(f"  {units.age(time.time() - row.time)} ago", style="dim")
    text.append(f", on layer {row.parent.name}\n" if row.parent else ", full\n", style="dim")
    text.append("owns ")
    text.append(f"{units.pages(row.own_pages)} pages", style="bold")
    total = row.own_pages + row.inherited_pages
    if row.inherited_pages:
        text.append(f", inherits {units.pages(row.inherited_pages)}\n")
        full = max(1 if row.own_pages else 0, round(_BAR * row.own_pages / total))
        text.append("█" * full)
        text.append("░" * (_BAR - full), style="dim")
        text.append(f" {units.share(row.own_pages, total) if row.own_pages * 200 >= total else '< 1 %'} own\n", style="dim")
    else:
        text.append(", inherits none\n")
    text.append(f"{units.size(row.disk_bytes)} on disk for {units.size(row.memory_bytes)} of memory\n")
    if row.frozen_us:
        text.append(f"frozen {units.duration(row.frozen_us)}", style="bold")
        text.append(f", dumped in {units.duration(row.elapsed_us)}\n" if row.elapsed_us else "\n")
    text.append(" · ".join(part for part in (row.tracker, row.kernel) if part) + "\n", style="dim")
    if row.restorable:
        text.append("✓ can be restored: r", style=GOOD)
    else:
        text.append("✗ cannot be restored: ", style=DANGER)
        text.append(row.why)
    return text
