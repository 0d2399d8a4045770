"""The key bar: the keys of the focused pane, the most useful first, as many as fit in a line. On the right what is the same everywhere."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.screen import Screen
from textual.widget import Widget

from lamina.tui.keys.actions import EVERYWHERE, PANES, Action, actions_here

# What is on the right, by action: its name, and its name on a narrow terminal.
_PANE = ("next_pane(1)", "next pane", "pane")
_PALETTE = ("command_palette", "actions", "all")
_HELP = ("help", "help", "help")


class KeyBar(Widget):
    """The last line of every screen. *first*: actions that come before the others."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--word"}

    def __init__(self, first: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._first = first
        self._places: list[tuple[int, int, Action]] = []
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
        actions = actions_here(self.screen)
        right = self._right({action.call: action for action in actions})
        room = self.size.width - sum(piece.cell_len for piece, _ in right)
        rank = {action: at for at, action in enumerate(self._first)}
        own = [action for action in actions if action.shown and action.context not in (PANES, EVERYWHERE)]
        pieces: list[tuple[Text, Action | None]] = []
        for action in sorted(own, key=lambda action: rank.get(action.call, len(rank))):
            piece = self._piece(action.keys.split()[0], action.name, action.enabled and not action.refused)
            if piece.cell_len > room:
                break
            room -= piece.cell_len
            pieces.append((piece, action))
        line = Text(no_wrap=True)
        self._places = []
        for piece, known in (*pieces, (Text(" " * max(0, room)), None), *right):
            if known is not None:
                self._places.append((line.cell_len, line.cell_len + piece.cell_len, known))
            line.append_text(piece)
        return line

    def _right(self, actions: dict[str, Action]) -> list[tuple[Text, Action | None]]:
        """What is the same everywhere; while one pane is shown alone, also how to see the others."""
        alone, narrow = self.screen.maximized is not None, self.size.width < 100
        pieces: list[tuple[Text, Action | None]] = [(self._piece("1–6", "" if narrow else "screens"), None)] if alone or not narrow else []
        wanted = [_HELP] if alone and narrow else [_PALETTE, _HELP]
        for call, long, short in wanted:
            if action := actions.get(call):
                pieces.append((self._piece(action.keys.split()[0], short if narrow else long), action))
        if alone and (action := actions.get(_PANE[0])):
            pieces.insert(0, (self._piece(action.keys.split()[0], _PANE[2] if narrow else _PANE[1]), action))
        return pieces

    def _piece(self, key: str, word: str, enabled: bool = True) -> Text:
        style = self.get_component_rich_style("key-bar--word")
        piece = Text(no_wrap=True).append(f" {key}", self.get_component_rich_style("key-bar--key"))
        return piece.append(f" {word} " if word else " ", style if enabled else f"{style} dim")

    async def on_click(self, event: events.Click) -> None:
        """A key can be clicked."""
        for start, end, action in self._places:
            if start <= event.x < end and action.enabled:
                await self.app.run_action(action.call, action.node or self.screen)
