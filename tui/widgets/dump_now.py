"""What a dump of the target would write now, how long it would freeze the target, and what prevents it."""

import time

from rich.text import Text
from textual.widget import Widget

from lamina.tui.model import units
from lamina.tui.model.target import Target
from lamina.tui.read.target_memory import TargetMemory
from lamina.tui.theme import DANGER, WARM


class DumpNow(Widget):
    """The pane next to threads and descriptors."""

    def __init__(self) -> None:
        super().__init__(classes="pane", id="dump-now")
        self.border_title = "a dump now"
        self._text = Text()

    def show(self, target: Target | None, memory: TargetMemory | None, hindrance: str = "") -> None:
        """Describe it; *hindrance* is what prevents it, in words."""
        self._text = _describe(target, memory, hindrance) if target is not None and memory is not None else Text()
        self.refresh()

    def render(self) -> Text:
        """A few lines."""
        return self._text


def _describe(target: Target, memory: TargetMemory, hindrance: str) -> Text:
    text = Text()
    if hindrance.startswith("cannot"):
        return text.append(f"✗ {hindrance}", style=DANGER)
    text.append(f"{units.pages(memory.dump_pages)} pages", style="bold")
    text.append(f" · {units.size(memory.dump_bytes)}\n")
    if hindrance:
        text.append(f"! {hindrance}\n", style=WARM)
    if memory.inherited_pages:
        text.append(f"leaves {units.pages(memory.inherited_pages)} to its parent\n", style="dim")
    if memory.parent is None:
        text.append("full: on no layer yet\n", style="dim")
    else:
        text.append(f"parent: layer {memory.parent.name}, {units.age(time.time() - memory.parent_time)} ago\n", style="dim")
    if memory.freeze_us and memory.parent is not None:
        text.append(f"freeze about {units.duration(memory.freeze_us)}, as the last\n", style="dim")
    if target.why_untracked:
        text.append(f"! full: {target.why_untracked}\n", style=WARM)
    elif not target.tracker:
        text.append("not tracked: t\n", style="dim")
    return text
