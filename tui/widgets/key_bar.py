"""The keys of the focused pane in one line, the most useful first; as many as fit. To the right what is the same everywhere."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.screen import Screen
from textual.widget import Widget

from lamina.tui.deeds import EVERYWHERE, PANES, Deed, deeds_here

# What stands to the right; while one pane is alone, how to come to the others; shorter where it is narrow.
_EVERYWHERE = (("1–6", "screens"), ("^p", "all acts"), ("?", "help"))
_ALONE = (("Tab", "next pane"), *_EVERYWHERE)
_NARROW = (("^p", "acts"), ("?", "help"))
_NARROW_ALONE = (("Tab", "pane"), ("1–6", ""), ("?", "help"))


class KeyBar(Widget):
    """The last line of every screen. *first*: actions that come before the others."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--word"}

    def __init__(self, first: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._first = first
        self._places: list[tuple[int, int, Deed]] = []

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def _deeds(self) -> list[Deed]:
        deeds = [deed for deed in deeds_here(self.screen) if deed.shown and deed.place not in (PANES, EVERYWHERE)]
        rank = {action: at for at, action in enumerate(self._first)}
        return sorted(deeds, key=lambda deed: rank.get(deed.action, len(rank)))

    def render(self) -> Text:
        """As many keys as fit, none of them cut."""
        key, word = self.get_component_rich_style("key-bar--key"), self.get_component_rich_style("key-bar--word")
        right = Text(no_wrap=True)
        alone, narrow = self.screen.maximized is not None, self.size.width < 100
        for name, what in (_NARROW_ALONE if alone else _NARROW) if narrow else (_ALONE if alone else _EVERYWHERE):
            right.append(f" {name}", key).append(f" {what} " if what else " ", word)
        line = Text(no_wrap=True)
        self._places = []
        for deed in self._deeds():
            piece = Text().append(f" {deed.keys.split()[0]}", key).append(f" {deed.name} ", word if deed.enabled else f"{word} dim")
            if line.cell_len + piece.cell_len + right.cell_len > self.size.width:
                break
            self._places.append((line.cell_len, line.cell_len + piece.cell_len, deed))
            line.append_text(piece)
        line.pad_right(max(0, self.size.width - line.cell_len - right.cell_len))
        return line.append_text(right)

    async def on_click(self, event: events.Click) -> None:
        """A key can be clicked."""
        for start, end, deed in self._places:
            if start <= event.x < end and deed.enabled:
                await self.app.run_action(deed.action, deed.node or self.screen)
