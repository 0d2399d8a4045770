"""Everything that a key can do, as values, from which the palette, the `:` line, the help and the key bar are made.

There is no second list: they are made from the bindings in force.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from lamina.tui.keys.keymap import APP_KEYS, PANE_KEYS, TARGET_KEYS
from lamina.tui.services.base_app import BaseApp
from lamina.tui.services.base_screen import BaseScreen

EVERYWHERE, PANES = "everywhere", "the panes"
_OF_PANES = {binding.action for binding in PANE_KEYS if isinstance(binding, Binding)}
_OF_TARGET = {binding.action for binding in TARGET_KEYS if isinstance(binding, Binding)}
# What is the same everywhere comes in the order of the keymap.
_RANK = {binding.action: at for at, binding in reversed(list(enumerate(APP_KEYS))) if isinstance(binding, Binding)}
# Textual has other names than Unicode for some signs, and does not know the Unicode ones.
_UNICODE = {short: name for name, short in KEY_NAME_REPLACEMENTS.items()}
# What every list does, and what only goes back: of no use in the palette or as a word after `:`.
_MOVES = {"up", "down", "page up", "page down", "first", "last", "back", "choose", "pan", "before", "next", "next pane", "pane before"}
# What --readonly refuses at the first key. Others begin with a dry run, which is allowed.
_CHANGES = {
    "track", "dump", "send", "receive", "timed", "final", "new_program", "restore", "undo", "label", "pin", "export", "import", "compress",
    "relink", "core", "own_command",
}  # fmt: skip
_NAMES = {
    "up": "↑", "down": "↓", "left": "←", "right": "→", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End",
    "escape": "Esc", "enter": "Enter", "space": "Space", "tab": "Tab", "delete": "Del", "backspace": "Backspace",
}  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One thing a key does.

    Attributes:
        name: one or two words, "final dump".
        keys: what to press, as people write it, "↓ j".
        does: a sentence.
        call: what Textual runs, as in "show('stack')".
        context: where it works: the title of a pane, the name of a screen, `PANES` or `EVERYWHERE`.
        shown: it is important enough for the key bar.
        enabled: it can be done now.
        refused: it changes something, and lamina is read only. Its key only says so.
        node: whose action it is.
        mode: the screen to go to first; "" if it can be done here.
    """

    name: str
    keys: str
    does: str
    call: str
    context: str
    shown: bool = True
    enabled: bool = True
    refused: bool = False
    node: DOMNode | None = field(default=None, compare=False)
    mode: str = ""

    @property
    def word(self) -> str:
        """Its name after `:`, "final-dump"."""
        return self.name.rstrip("… ").replace(" ", "-")

    @property
    def moves(self) -> bool:
        """It only moves about."""
        return self.name in _MOVES


def key_name(binding: Binding) -> str:
    """The key of *binding* as people write it."""
    return binding.key_display or _NAMES.get(binding.key, binding.key.replace("ctrl+", "^"))


def perform(app: BaseApp, action: Action) -> None:
    """Do what a key does, on the screen where it does."""
    app.perform(action.call, action.mode, action.node)


def actions_here(screen: Screen[Any]) -> list[Action]:
    """What can be done on *screen* now: in the focused pane first, then on the screen, with the panes, and everywhere."""
    found: dict[tuple[int, str], Action] = {}
    for active in screen.active_bindings.values():
        binding, node = active.binding, active.node
        # In a line to type into a slash is a letter, which Textual does not know.
        letter = binding.key == "slash" and isinstance(screen.focused, Input)
        # Textual's own keys that do nothing here have no tooltip.
        if (binding.tooltip or binding.show) and not letter:
            known = found.get((id(node), binding.action))
            action = _action_of(binding, _context_of(node, binding.action), known)
            refused = _refused(screen.app, action)
            found[id(node), binding.action] = replace(action, enabled=active.enabled, refused=refused, node=node)
    entered = _enter(screen)
    actions = list(found.values())
    if entered is not None:
        actions = [replace(entered, context=action.context, node=screen) if action.name == "choose" else action for action in actions]
    contexts = [*dict.fromkeys(action.context for action in actions if action.context not in (PANES, EVERYWHERE)), PANES, EVERYWHERE]
    return sorted(
        actions, key=lambda action: (contexts.index(action.context), action.moves, action.call in _OF_TARGET, _RANK.get(action.call, 0))
    )


def _refused(app: App[Any], action: Action) -> bool:
    """Whether *app* is read only and *action* would change something."""
    session = getattr(app, "session", None)
    return session is not None and session.readonly and action.call.removeprefix("app.").partition("(")[0] in _CHANGES


def _enter(screen: Screen[Any]) -> Action | None:
    """What Enter does on the rows of a list: the screen knows, the list only reports that a row was chosen."""
    if not isinstance(screen, BaseScreen):
        return None
    return next((action for action in _of_class(type(screen)) if action.keys.startswith("Enter")), None)


def actions_elsewhere(app: BaseApp, screen: Screen[Any]) -> Iterable[Action]:
    """What the other screens do that *screen* cannot."""
    here = {action.call for action in actions_here(screen)}
    for mode, frame in app.screens():
        # A screen without a digit is opened from another one, and has nothing to show before that.
        if mode != app.current_mode and f"show('{mode}')" in _RANK:
            for action in _of_class(type(frame), app.session.settings.keys):
                if action.call not in here and not action.moves:
                    yield replace(action, mode=mode, refused=_refused(app, action))


def action_elsewhere(app: BaseApp, key: str) -> Action | None:
    """What *key* (as Textual calls it) does on another screen; None if it does nothing there either."""
    letter = key_to_character(_UNICODE.get(key, key))
    name = key_name(Binding(key, "", "", key_display=letter if letter and letter.isprintable() else None))
    return next((action for action in actions_elsewhere(app, app.screen) if name in action.keys.split()), None)


def _of_class(frame: type[BaseScreen], chosen: Mapping[str, str] = MappingProxyType({})) -> list[Action]:
    """What a screen itself binds; *chosen*: the user's keys, by the names of actions."""
    found: dict[str, Action] = {}
    for cls in frame.__mro__[: frame.__mro__.index(BaseScreen)]:
        bindings: list[BindingType] = cls.__dict__.get("BINDINGS", [])
        for usual in Binding.make_bindings(bindings):
            keys = chosen.get(usual.id or "")
            binding = usual.with_key(keys.split(",")[0].strip()) if keys else usual
            if binding.tooltip and not binding.action.startswith("app."):
                found[binding.action] = _action_of(binding, frame.NAME, found.get(binding.action))
    return list(found.values())


def _action_of(binding: Binding, context: str, known: Action | None) -> Action:
    """*binding* as a value; *known*: the same by another key."""
    keys = _joined(known.keys, key_name(binding)) if known else key_name(binding)
    return Action(binding.description, keys, binding.tooltip or binding.description, binding.action, context, binding.show)


def _joined(keys: str, key: str) -> str:
    return keys if key in keys.split() else f"{keys} {key}"


def _context_of(node: DOMNode, action: str) -> str:
    if action in _OF_PANES:
        return PANES
    if isinstance(node, BaseScreen):
        return node.NAME
    if isinstance(node, Widget) and not isinstance(node, Screen):
        pane = next((one for one in node.ancestors_with_self if isinstance(one, Widget) and one.has_class("pane")), None)
        return str((pane.border_title if pane else "") or type(node).__name__).split(" · ")[0]
    return EVERYWHERE
