"""The present step of the guide, above the job bar; nothing once the guide was followed."""

from rich.text import Text
from textual.widgets import Static

from lamina.tui.model.guide import Guide


class GuideLine(Static):
    """One line."""

    _line: str | None = None

    def show(self, guide: Guide) -> None:
        """Show the step that the reader is at."""
        if guide.line == self._line:
            return  # called with every reading of the target and every report of progress
        self._line = guide.line
        self.set_class(not guide.line, "-followed")
        number, _, words = guide.line.rpartition("  ")
        text = Text.assemble((f" {number}  " if number else " ", "dim"), (words, "bold"), no_wrap=True, overflow="ellipsis")
        self.update(text, layout=False)
