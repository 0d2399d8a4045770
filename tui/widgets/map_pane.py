"""A frame around a `MemoryMap`: what it shows, how much memory a cell is, and what is under the cursor."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from lamina.tui.model.address_space import AddressSpace
from lamina.tui.widgets.memory_map import MEANING, MemoryMap


class MapPane(Vertical):
    """The pane; `map` is the map in it."""

    def __init__(self, id: str, meaning: Mapping[str, str] = MEANING) -> None:
        super().__init__(id=id, classes="pane")
        self.map = MemoryMap(meaning=meaning)
        self._legend = Static(classes="legend")
        self._what = "memory"
        self._titled = ""

    def compose(self) -> ComposeResult:
        """The map, and what its colours mean."""
        yield self.map
        yield self._legend

    def show(self, what: str, space: AddressSpace) -> None:
        """Repaint for *space*; *what* is its title."""
        self._what = what
        self.map.show(space.areas, space.paints)
        self._legend.update(self.map.legend(), layout=False)
        self.retitle()

    def show_nothing(self, why: str) -> None:
        """Show no map, and say why."""
        self.map.empty_text = why
        self.show("memory", AddressSpace())

    @on(MemoryMap.Moved)
    def retitle(self) -> None:
        """Update the title: the cursor or the scale has changed."""
        title = f"{self._what} · 1 cell = {self.map.scale_text}" if self.map.area else self._what
        if title != self._titled:
            self._titled, self.border_title = title, Content(title)  # which paints the pane anew
        self.border_subtitle = Content(self.map.under_cursor)
