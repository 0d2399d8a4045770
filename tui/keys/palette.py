"""The palette: every action of this screen and of the others, found by a few letters. Made from the bindings in force."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from lamina.tui.keys.actions import actions_elsewhere, actions_here, perform
from lamina.tui.keys.jumps import JUMPS, follow
from lamina.tui.services.base_app import BaseApp

_KEY_COLUMN = 34


@dataclass(frozen=True)
class Entry:
    """One line of the palette: what it is called, its key, a sentence, and what it runs; *refused*: this lamina is read only."""

    name: str
    keys: str
    does: str
    run: IgnoreReturnCallbackType
    refused: bool = False


class LaminaPalette(Provider):
    """What `^p` offers: actions of the focused pane first, then of the screen, of other screens, layers, themes."""

    async def startup(self) -> None:
        """Make the list, which does not change while the palette is open."""
        self._entries = list(self._all())

    async def discover(self) -> Hits:
        """All of them."""
        for entry in self._entries:
            yield DiscoveryHit(self._line(entry, Text(entry.name)), entry.run, entry.name, entry.does)

    async def search(self, query: str) -> Hits:
        """First those whose name has these letters in this order, then those whose sentence contains *query*."""
        matcher = self.matcher(query)
        for entry in self._entries:
            score = matcher.match(entry.name) or 0.1 * (query.lower() in entry.does.lower())
            if score:
                shown = Text(entry.name)
                yield Hit(score, self._line(entry, shown), entry.run, entry.name, entry.does)

    @staticmethod
    def _line(entry: Entry, name: Text) -> Text:
        name.pad_right(max(2, _KEY_COLUMN - name.cell_len))
        name.append(entry.keys, "bold")
        if entry.refused:
            name.append("  read only")
            name.stylize("dim")
        return name

    def _all(self) -> Iterator[Entry]:
        app = cast(BaseApp, self.app)
        for action in actions_here(self.screen):
            if not action.moves and action.enabled and "command_palette" not in action.call:
                name = f"go to {action.name}" if action.call.startswith("show(") else action.name
                yield Entry(name, action.keys, action.does, partial(perform, app, action), action.refused)
        for action in actions_elsewhere(app, self.screen):
            yield Entry(f"{action.context}: {action.name}", action.keys, action.does, partial(perform, app, action), action.refused)
        for jump in JUMPS:
            word = jump.names[0]
            begun = partial(app.action_jump_line, f"{word} ")
            yield Entry(jump.usage, "", jump.does, begun if jump.argument else partial(follow, app, word, {}, app.notify))
            for value in jump.offers(app):
                line = f"{word} {value}"
                yield Entry(line, f":{line}", jump.does, partial(follow, app, line, {}, app.notify))
