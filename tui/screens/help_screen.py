"""The help: the keys of the focused pane, of the screen and of all screens, what can be typed after `:`, and what the glyphs mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.actions import EVERYWHERE, PANES, Action, actions_here
from lamina.tui.keys.jumps import JUMPS
from lamina.tui.keys.keymap import HELP_KEYS
from lamina.tui.services.base_app import BaseApp
from lamina.tui.theme import told_by_colour
from lamina.tui.widgets.row_list import Cell, Column, RowList

_LEGEND = (
    (".", "zero", "a page of zeros, or never touched"),
    ("·", "file", "as in its file, and in no layer"),
    ("░", "old", "its content is in an old layer"),
    ("▒", "older", "in a layer older than the parent"),
    ("▓", "parent", "in the parent of this layer"),
    ("█", "own", "in this layer"),
    ("*", "dirty", "dirty: written since the newest layer"),
    ("+", "new", "new: not there when the newest layer was taken"),
    ("≈", "shared", "shared with other processes"),
    ("╱", "untracked", "not tracked: its changes cannot be seen"),
    ("!", "punched", "punched: dedup took the content out of this layer"),
    ("?", "punched", "in no layer yet"),
    ("✓", "good", "a process can be dumped as it is, a layer restored"),
    ("!", "warn", "a process can be dumped with the options named beside it"),
    ("✗", "danger", "it cannot: the detail says why"),
)


@dataclass(frozen=True)
class HelpRow:
    """One line of the help. A heading has no key; *action* is what Enter does."""

    key: str
    text: str
    colour: str = ""
    name: str = ""
    action: Action | None = None

    @property
    def heading(self) -> bool:
        """Whether it names what follows."""
        return not self.key


class HelpList(RowList[HelpRow]):
    """A list whose rows may have the colours of the map."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"row--{name}" for name in ("zero", "file", "old", "older", "parent", "own", "dirty", "shared", "untracked", "punched")
    }


class HelpScreen(Question[Action | None]):
    """Answers with the action to perform, None for none."""

    BINDINGS: ClassVar[list[BindingType]] = HELP_KEYS

    def __init__(self, app: BaseApp) -> None:
        """Describe the screen that *app* shows now."""
        super().__init__()
        self._rows = list(_rows(app))
        self._input = Input(placeholder="a key or a word", id="help-filter", compact=True)
        columns = (
            Column[HelpRow]("", 11, _key, right=True),
            Column[HelpRow]("", 17, lambda row: [(row.name, row.colour)], keep=76),
            Column[HelpRow]("", 0, lambda row: [(row.text, "bright" if row.heading else "dim")]),
        )
        self._list = HelpList(columns, lambda row: row, id="help-rows")
        self._list.empty_text = "nothing here is called that"

    def compose(self) -> ComposeResult:
        """The line to search in, and the rows."""
        with Vertical(id="help") as box:
            box.border_title = "help"
            box.border_subtitle = "/ search · Enter do it · Esc back"
            yield self._input
            yield self._list

    def on_mount(self) -> None:
        """Everything."""
        self._input.display = False
        self._list.show_rows(self._rows)
        self._list.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the search itself a slash is a letter."""
        return not (action == "search" and self._input.has_focus)

    def action_search(self) -> None:
        """Type a word."""
        self._input.display = True
        self.set_focus(self._input)

    def action_back(self) -> None:
        """Out of the search, then out of the help."""
        if self._input.display:
            self._input.value = ""
            self._input.display = False
            self.set_focus(self._list)
        else:
            self.dismiss(None)

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        wanted = event.value.strip().lower()
        hits = [row for row in self._rows if not row.heading and wanted in f"{row.key} {row.name} {row.text}".lower()]
        rows = hits if wanted else self._rows
        self._list.show_rows(rows, follow=rows[0] if rows else None)

    @on(Input.Submitted)
    def _searched(self) -> None:
        self.set_focus(self._list)

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        if event.row.action is not None:
            self.dismiss(event.row.action)


def _key(row: HelpRow) -> Cell:
    return [(row.key, row.colour)]


def _rows(app: BaseApp) -> Iterable[HelpRow]:
    context = ""
    for action in actions_here(app.screen):
        if action.context != context:
            context = action.context
            yield HelpRow("", context if context in (PANES, EVERYWHERE) else f"in {context}")
        does, colour = (f"read only: {action.does}", "dim") if action.refused else (action.does, "")
        yield HelpRow(action.keys, does, colour, action.name, action if action.enabled else None)
    yield HelpRow("", "after : (Tab completes; every action may be typed by its name, too)")
    for jump in JUMPS:
        word = jump.names[0]
        action = Action(word, f":{word}", jump.does, f"jump_line('{word} ')", EVERYWHERE, node=app)
        short = " ".join([*(f":{name}" for name in jump.names[1:]), *([jump.argument] if jump.argument else [])])
        yield HelpRow(f":{word}", jump.does, "", short, action)
    yield HelpRow("", "what is painted")
    full = told_by_colour(app)
    for glyph, colour, meaning in _LEGEND:
        yield HelpRow("█" if glyph in full else glyph, meaning, colour)
