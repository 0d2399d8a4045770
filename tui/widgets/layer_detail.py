"""What is known of the layer under the cursor."""

import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from lamina.tui.keys.keymap import SCROLL_KEYS
from lamina.tui.model import units
from lamina.tui.model.dirty_pages import Dirty
from lamina.tui.model.layers import Check, LayerRow
from lamina.tui.theme import DANGER, GOOD, WARM
from lamina.tui.widgets.flowing_text import FlowingText

_BAR = 20


class LayerDetail(VerticalScroll, can_focus=False):
    """The pane next to the layers."""

    BINDINGS: ClassVar = SCROLL_KEYS

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._text = FlowingText(id="detail-text")

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def show(self, row: LayerRow | None, stands_on: bool, dirty: Dirty | None) -> None:
        """Describe *row*; *stands_on*: the running target's next dump is an increment of it; *dirty*: what it wrote since."""
        self.border_title = Content("layer" if row is None else f"layer {row.name}" + (f' "{row.label}"' if row.label else ""))
        self._text.update(Text() if row is None else describe(row, stands_on, dirty))


def describe(row: LayerRow, stands_on: bool, dirty: Dirty | None) -> Text:
    """Everything in a few lines, the most important first."""
    text = Text()
    if dirty is not None:
        text.append(f"* {units.pages(dirty.pages)} pages", style=f"bold {WARM}")
        text.append(f" changed since ({units.size(dirty.bytes)})\n", style=WARM)
    elif stands_on:
        text.append("◂ the program is here\n", style="dim")
    if row.trashed:
        text.append("in the trash", style="bold")
        text.append(f" for {units.age(time.time() - row.dropped)}" if row.dropped else "")
        text.append(": z brings it back, Del removes it for good\n", style="dim")
    if not row.time:
        return text.append(row.finding or row.why, style=DANGER)
    _times(text, row)
    _pages(text, row)
    text.append(f"{units.size(row.disk_bytes)} on disk for {units.size(row.memory_bytes)} of memory")
    text.append(", compressed\n" if row.compressed else "\n")
    if row.frozen_us:
        text.append(f"frozen {units.duration(row.frozen_us)}", style="bold")
        text.append(f" · dumped in {units.duration(row.elapsed_us)}\n" if row.elapsed_us else "\n")
    program = f"{row.program} {row.pid}" if row.program else ""
    maker = "made by criu" if row.foreign else row.tracker
    text.append(" · ".join(part for part in (program, row.kernel, maker) if part) + "\n", style="dim")
    if row.squashed:
        text.append(f"holds the pages of {row.squashed} squashed layer{'s' if row.squashed > 1 else ''}\n", style="dim")
    if row.pinned:
        text.append("pinned" + (f": {row.pin_reason}\n" if row.pin_reason else "\n"))
    if row.checked is not None:
        text.append_text(_checked(row.checked))
    return _verdict(text, row)


def _times(text: Text, row: LayerRow) -> None:
    text.append(units.clock(row.time), style="bold")
    if row.parent is not None and row.parent_time:
        text.append(f" · {units.age(row.time - row.parent_time)} after {row.parent.name}\n", style="dim")
        return
    text.append(f" · {units.age(time.time() - row.time)} ago", style="dim")
    text.append(f", on layer {row.parent.name}\n" if row.parent else ", full\n", style="dim")


def _pages(text: Text, row: LayerRow) -> None:
    text.append("owns ")
    text.append(f"{units.pages(row.own_pages)} pages", style="bold")
    total = row.own_pages + row.inherited_pages
    if not row.inherited_pages:
        text.append(", inherits none\n")
        return
    text.append(f", inherits {units.pages(row.inherited_pages)}\n")
    full = max(1 if row.own_pages else 0, round(_BAR * row.own_pages / total))
    text.append("█" * full)
    text.append("░" * (_BAR - full), style="dim")
    text.append(f" {units.share(row.own_pages, total) if row.own_pages * 200 >= total else '< 1 %'} own\n", style="dim")


def _checked(check: Check) -> Text:
    if not check.good:
        return Text(f"verified {units.age(time.time() - check.time)} ago · damaged\n", style=DANGER)
    sums = "checksums good" if check.sums else "all of it can be read; there are no checksums"
    return Text(f"verified {units.age(time.time() - check.time)} ago · {sums}\n")


def _verdict(text: Text, row: LayerRow) -> Text:
    if row.trashed:
        return text
    if row.restorable:
        return text.append("✓ can be restored: r", style=GOOD)
    if row.whole:
        return text.append(f"– {row.why}", style="dim")
    text.append("✗ cannot be restored: ", style=DANGER)
    text.append(row.why)
    if row.finding and row.finding != row.why:
        text.append(f"\n{row.finding}", style="dim")
    if row.unlinked:
        text.append("\nR looks for its parent", style="dim")
    return text
