"""The panes of a screen. Tab goes through them, `f` shows one alone, and their edges can be moved by mouse and by key.

On a small terminal (narrow and low, or very low) one pane is shown at a time, the one that has the focus.
"""

from typing import ClassVar, cast

from textual import events
from textual.geometry import Size
from textual.widget import Widget

from lamina.tui.dialogs.pane_letters import PaneLetters
from lamina.tui.services.base_screen import BaseScreen

# Smallest pane, in cells.
_LEAST_WIDTH, _LEAST_HEIGHT = 16, 4
# How far a key moves an edge, in cells.
_STEP = 2


# At least so high a terminal has room for another pane next to the one that is shown alone.
_BESIDE_FROM = 20


def _small(size: Size) -> bool:
    return size.height < 20 or (size.width < 100 and size.height < 30)


class PanedScreen(BaseScreen):
    """A screen whose parts carry the class `pane`."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]
    # The bars, which are always shown; and panes that stay next to another one on a small terminal.
    BARS: ClassVar[str] = "TitleBar, JobBar, GuideLine, KeyBar, JumpLine"
    STAYS: ClassVar[str] = ""
    # Whether a small terminal shows one pane at a time.
    ONE_BY_ONE: ClassVar[bool] = True
    _dragged: tuple[Widget, Widget] | None = None

    @property
    def ALLOW_IN_MAXIMIZED_VIEW(self) -> str:  # type: ignore[override]
        """What Textual shows besides the pane that is alone."""
        return f"{self.BARS}, {self.STAYS}" if self.STAYS and self.is_small and self.size.height >= _BESIDE_FROM else self.BARS

    @property
    def ESCAPE_TO_MINIMIZE(self) -> bool:  # type: ignore[override]
        """On a small terminal there is nothing to go back to."""
        return not self.is_small

    @property
    def is_small(self) -> bool:
        """Whether panes are shown one by one."""
        return self.ONE_BY_ONE and _small(self.size)

    def on_mount(self) -> None:
        """Make every pane focusable, also one that only shows something."""
        for pane in self.query(".pane"):
            if not any(widget.can_focus for widget in pane.walk_children(Widget)):
                pane.can_focus = True
        self.watch(self, "focused", self._one_pane, init=False)

    def on_resize(self, event: events.Resize) -> None:
        """A terminal that became small shows one pane, one that grew shows all."""
        small = self.ONE_BY_ONE and _small(event.size)
        if small != self.has_class("-one-pane"):
            self.set_class(small, "-one-pane")
            if small:
                self._one_pane()
            else:
                self.minimize()

    @property
    def panes(self) -> list[Widget]:
        """Those that the screen shows now, or would if none were alone."""
        return [
            pane for pane in self.query(".pane") if all(isinstance(node, Widget) and node.display for node in pane.ancestors_with_self[:-1])
        ]

    @property
    def pane(self) -> Widget | None:
        """The one that has the focus."""
        focused = self.focused
        return next((cast(Widget, node) for node in focused.ancestors_with_self if node.has_class("pane")), None) if focused else None

    def _one_pane(self) -> None:
        pane = self.pane
        if self.has_class("-one-pane") and pane is not None:
            self.maximized = self.alone(pane)

    def alone(self, pane: Widget) -> Widget:
        """What a small terminal shows while *pane* has the focus: that pane, unless a screen has some that belong together."""
        return pane

    def go_to_pane(self, pane: Widget) -> None:
        """Give *pane* the focus."""
        inside = (widget for widget in pane.walk_children(Widget, with_self=True) if widget.focusable)
        if (first := next(inside, None)) is not None:
            if self.maximized is not None:
                self.maximized = self.alone(pane) if self.is_small else pane
            self.set_focus(first)

    def action_next_pane(self, by: int) -> None:
        """To the next pane, or the one before."""
        panes = self.panes
        if panes:
            at = panes.index(self.pane) + by if self.pane in panes else 0
            self.go_to_pane(panes[at % len(panes)])

    def action_maximise(self) -> None:
        """The focused pane alone, and back."""
        if self.maximized is not None:
            self.minimize()
        elif self.pane is not None:
            self.maximized = self.pane

    def action_jump_mode(self) -> None:
        """A letter on every pane."""

        def chosen(pane: Widget | None) -> None:
            if pane is not None:
                self.go_to_pane(pane)

        self.app.push_screen(PaneLetters(self.panes, self.maximized), chosen)

    # -- edges -----------------------------------------------------------------------------------------------------------------------

    def action_resize(self, across: int, down: int) -> None:
        """Move an edge of the focused pane. *across* and *down* are 1 for larger, -1 for smaller, or 0."""
        pair = self._pair(self.pane, across != 0) if self.pane is not None and self.maximized is None else None
        if pair is not None and self.pane is not None:
            first, second = pair
            larger = 1 if first in self.pane.ancestors_with_self else -1
            edge = second.region.x if across else second.region.y
            self._move_edge(first, second, edge + larger * _STEP * (across or down))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of an edge between two panes."""
        if self.maximized is not None:
            return
        for pane in self.panes:
            region = pane.region
            if not region.contains(event.screen_x, event.screen_y):
                continue
            for at_edge, across, before in (
                (event.screen_x == region.x, True, True),
                (event.screen_x == region.right - 1, True, False),
                (event.screen_y == region.y, False, True),
                (event.screen_y == region.bottom - 1, False, False),
            ):
                pair = self._pair(pane, across, before) if at_edge else None
                if pair is not None:
                    self._dragged = pair
                    self.capture_mouse()
                    event.prevent_default()
                    return

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The edge follows the mouse."""
        if self._dragged is not None:
            first, second = self._dragged
            self._move_edge(first, second, event.screen_x if _side_by_side(first) else event.screen_y)

    def on_mouse_up(self) -> None:
        """Let go of it."""
        if self._dragged is not None:
            self._dragged = None
            self.release_mouse()

    def _pair(self, pane: Widget | None, across: bool, before: bool | None = None) -> tuple[Widget, Widget] | None:
        """The two neighbours that share an edge of *pane*, left or upper first. *before* None: its right or lower edge if it has one."""
        node = pane
        while node is not None and node is not self and isinstance(node.parent, Widget):
            siblings = _stretching(node.parent)
            if node in siblings and _side_by_side(node) == across:
                at = siblings.index(node)
                if before is not True and at + 1 < len(siblings):
                    return node, siblings[at + 1]
                if before is not False and at:
                    return siblings[at - 1], node
            node = node.parent
        return None

    def _move_edge(self, first: Widget, second: Widget, edge: int) -> None:
        across = _side_by_side(first)
        rule, least = ("width", _LEAST_WIDTH) if across else ("height", _LEAST_HEIGHT)
        parent = cast(Widget, first.parent)
        sizes = {widget: widget.outer_size.width if across else widget.outer_size.height for widget in _stretching(parent)}
        start, both = (first.region.x if across else first.region.y), sizes[first] + sizes[second]
        if both >= 2 * least:
            sizes[first] = max(least, min(edge - start, both - least))
            sizes[second] = both - sizes[first]
            # All of them as fractions, so that the proportions stay when the terminal is resized.
            for widget, size in sizes.items():
                setattr(widget.styles, rule, f"{size}fr")


def _side_by_side(widget: Widget) -> bool:
    """Whether *widget* and its neighbours stand side by side."""
    layout = widget.parent.styles.layout if isinstance(widget.parent, Widget) else None
    return layout is not None and layout.name == "horizontal"


def _stretching(parent: Widget) -> list[Widget]:
    """The children of *parent* that are panes or hold some."""
    return [child for child in parent.displayed_children if child.has_class("pane") or next(iter(child.query(".pane")), None) is not None]
