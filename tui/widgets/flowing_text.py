"""The text of a detail pane: another one with each step of a cursor, and the screen is not laid out anew for it."""

from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets import Static


class FlowingText(Static):
    """A text at least as high as the pane that scrolls it; only one that does not fit makes a new layout necessary."""

    DEFAULT_CSS = "FlowingText { min-height: 100%; }"

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """See `Static.update`."""
        super().update(content, layout=False)
        pane = self.parent
        room = pane.scrollable_content_region.height if isinstance(pane, Widget) else 0
        width, height = self.content_size
        if layout and (not width or max(room, self.visual.get_height(self.styles.get_rules(), width)) != height):
            self.refresh(layout=True)
