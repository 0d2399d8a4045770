"""The present step of the guide, above the job bar; nothing once the guide was followed."""

from rich.text import Text
from textual.widgets import Static

from lamina.tui.guide import Guide


class GuideLine(Static):
    """One line."""

    def show(self, guide: Guide) -> None:
        """Repaint for where the reader is."""
        self.display = bool(guide.line)
        number, _, words = guide.line.rpartition("  ")
        self.update(Text.assemble((f" {number}  " if number else " ", "dim"), (words, "bold"), no_wrap=True, overflow="ellipsis"))
