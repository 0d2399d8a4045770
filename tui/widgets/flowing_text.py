"""The text of a detail pane, which changes with each step of a cursor without a new layout of the screen."""

from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets import Static


class FlowingText(Static):
    """A text that is at least as high as the pane that scrolls it. Only one that does not fit needs a new layout."""

    DEFAULT_CSS = "FlowingText { min-height: 100%; }"

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show *content* instead of what is shown."""
        super().update(content, layout=False)
        pane = self.parent
        room = pane.scrollable_content_region.height if isinstance(pane, Widget) else 0
        width, height = self.content_size
        if layout and (not width or max(room, self.visual.get_height(self.styles.get_rules(), width)) != height):
            self.refresh(layout=True)
