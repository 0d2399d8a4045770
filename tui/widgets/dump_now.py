"""What a dump of the target would write now, how long it would stand still, and how fast it writes."""

import time

from rich.text import Text
from textual.widget import Widget

from lamina.tui.model import units
from lamina.tui.model.target import Target
from lamina.tui.read.dirty import Dirty
from lamina.tui.read.target_memory import TargetMemory
from lamina.tui.theme import WARM


class DumpNow(Widget):
    """The pane beside threads and descriptors."""

    def __init__(self) -> None:
        super().__init__(classes="pane", id="dump-now")
        self.border_title = "a dump now"
        self._text = Text()

    def show(self, target: Target | None, memory: TargetMemory | None, dirty: Dirty | None) -> None:
        """Describe it; *dirty* may be another's."""
        own = dirty if dirty is not None and target is not None and dirty.identity == target.identity else None
        self._text = _describe(target, memory, own) if target is not None and memory is not None else Text()
        self.refresh()

    def render(self) -> Text:
        """A few lines."""
        return self._text


def _describe(target: Target, memory: TargetMemory, dirty: Dirty | None) -> Text:
    text = Text()
    text.append(f"{units.pages(memory.dump_pages)} pages", style="bold")
    text.append(f" · {units.size(memory.dump_bytes)}\n")
    if memory.inherited_pages:
        text.append(f"leaves {units.pages(memory.inherited_pages)} to its parent\n", style="dim")
    if memory.parent is None:
        text.append("full: on no layer yet\n", style="dim")
    else:
        text.append(f"parent: layer {memory.parent.name}, {units.age(time.time() - memory.parent_time)} ago\n", style="dim")
    if memory.freeze_us and memory.parent is not None:
        text.append(f"freeze about {units.duration(memory.freeze_us)}, as for layer {memory.parent.name}\n", style="dim")
    if not target.tracker:
        text.append("not tracked: t\n", style="dim")
    elif dirty is not None and dirty.per_second:
        text.append(dirty.graph, style=WARM)
        text.append(f"\n{units.count(dirty.per_second[-1])} newly dirty pages/s\n", style="dim")
    return text
