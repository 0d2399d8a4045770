"""All keys: those of the present screen first, then those that mean the same everywhere."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lamina.tui.keymap import APP_KEYS, LIST_KEYS, TARGET_KEYS


class HelpScreen(ModalScreen[None]):
    """Keys and what they do."""

    BINDINGS = [Binding("escape,question_mark,q,f1", "dismiss", "back")]

    def __init__(self, where: str, keys: Sequence[BindingType]) -> None:
        super().__init__()
        self._where = where
        self._keys = keys

    def compose(self) -> ComposeResult:
        """One table per group."""
        with VerticalScroll(id="help") as box:
            box.border_title = "keys"
            box.border_subtitle = "Esc back"
            groups = ((self._where, self._keys), ("the target", TARGET_KEYS), ("everywhere", APP_KEYS), ("lists", LIST_KEYS))
            for title, keys in groups:
                yield Static(_table(title, keys))


def _table(title: str, keys: Sequence[BindingType]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=9, justify="right")
    grid.add_column()
    grid.add_row("", Text(title, style="bold"))
    for key in keys:
        if not isinstance(key, Binding):
            continue
        grid.add_row(_name(key), Text(key.tooltip or key.description, style="dim"))
    grid.add_row("", "")
    return grid


def _name(key: Binding) -> str:
    if key.key_display:
        return key.key_display
    names = {"full_stop": ".", "escape": "Esc", "enter": "Enter", "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn"}
    return " ".join(names.get(part, part.replace("ctrl+", "^")) for part in key.key.split(","))
