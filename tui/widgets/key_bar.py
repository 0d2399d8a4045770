"""The keys of the focused pane in one line, the most useful first; as many as fit. To the right what is the same everywhere."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.screen import Screen
from textual.widget import Widget

from lamina.tui.keys.deeds import EVERYWHERE, PANES, Deed, deeds_here

# What stands to the right, by action: what it is called, and what where it is narrow.
_PANE = ("next_pane(1)", "next pane", "pane")
_PALETTE = ("command_palette", "all acts", "acts")
_HELP = ("help", "help", "help")


class KeyBar(Widget):
    """The last line of every screen. *first*: actions that come before the others."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--word"}

    def __init__(self, first: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._first = first
        self._places: list[tuple[int, int, Deed]] = []
        self._said = ""

    def say(self, text: str) -> None:
        """Show *text* instead of the keys; "": the keys again."""
        if text != self._said:
            self._said = text
            self.refresh()

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Text:
        """As many keys as fit, none of them cut."""
        if self._said:
            self._places = []
            return Text(f" {self._said}", self.get_component_rich_style("key-bar--key"), no_wrap=True, overflow="ellipsis")
        deeds = deeds_here(self.screen)
        right = self._right({deed.action: deed for deed in deeds})
        room = self.size.width - sum(piece.cell_len for piece, _ in right)
        rank = {action: at for at, action in enumerate(self._first)}
        own = [deed for deed in deeds if deed.shown and deed.place not in (PANES, EVERYWHERE)]
        pieces: list[tuple[Text, Deed | None]] = []
        for deed in sorted(own, key=lambda deed: rank.get(deed.action, len(rank))):
            piece = self._piece(deed.keys.split()[0], deed.name, deed.enabled and not deed.refused)
            if piece.cell_len > room:
                break
            room -= piece.cell_len
            pieces.append((piece, deed))
        line = Text(no_wrap=True)
        self._places = []
        for piece, known in (*pieces, (Text(" " * max(0, room)), None), *right):
            if known is not None:
                self._places.append((line.cell_len, line.cell_len + piece.cell_len, known))
            line.append_text(piece)
        return line

    def _right(self, deeds: dict[str, Deed]) -> list[tuple[Text, Deed | None]]:
        """What is the same everywhere; while one pane is alone, how to come to the others."""
        alone, narrow = self.screen.maximized is not None, self.size.width < 100
        pieces: list[tuple[Text, Deed | None]] = [(self._piece("1–6", "" if narrow else "screens"), None)] if alone or not narrow else []
        wanted = [_HELP] if alone and narrow else [_PALETTE, _HELP]
        for action, long, short in wanted:
            if deed := deeds.get(action):
                pieces.append((self._piece(deed.keys.split()[0], short if narrow else long), deed))
        if alone and (deed := deeds.get(_PANE[0])):
            pieces.insert(0, (self._piece(deed.keys.split()[0], _PANE[2] if narrow else _PANE[1]), deed))
        return pieces

    def _piece(self, key: str, word: str, enabled: bool = True) -> Text:
        style = self.get_component_rich_style("key-bar--word")
        piece = Text(no_wrap=True).append(f" {key}", self.get_component_rich_style("key-bar--key"))
        return piece.append(f" {word} " if word else " ", style if enabled else f"{style} dim")

    async def on_click(self, event: events.Click) -> None:
        """A key can be clicked."""
        for start, end, deed in self._places:
            if start <= event.x < end and deed.enabled:
                await self.app.run_action(deed.action, deed.node or self.screen)
