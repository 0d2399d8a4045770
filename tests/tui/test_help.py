"""The help lists the keys of the focused pane first, finds words, does what Enter is pressed on; and the keys keep to the rules."""

from collections import defaultdict

import pytest
from textual.binding import Binding

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.keys import keymap
from lamina.tui.keys.actions import EVERYWHERE, actions_here
from lamina.tui.model.session import Session
from lamina.tui.screens.help_screen import HelpScreen
from lamina.tui.screens.panes import PanedScreen
from tests.tui.waiting import type_ahead, until

# What a key is called wherever it means anything.
SAME = {
    "t": {"track"}, "d": {"dump"}, "F": {"final dump"}, "r": {"restore…", "rewind…"}, "v": {"verify"}, "m": {"mark"}, "x": {"dedup…"},
    "s": {"squash…"}, "delete": {"drop…", "close"}, "l": {"label"}, "n": {"next", "next page", "next program"}, "N": {"previous"},
    "z": {"undo"},
    "slash": {"filter", "find", "search"}, "a": {"address"}, "full_stop": {"follow"}, "y": {"copy"}, "Y": {"save view"}, "c": {"cancel"},
    "question_mark": {"help", "back"}, "q": {"quit", "back"}, "colon": {"go to"}, "ctrl+p": {"palette"}, "f": {"maximise"},
    "ctrl+n": {"new program"}, "ctrl+o": {"any pane", "back"}, "T": {"timed layers"},
}  # fmt: skip


@pytest.mark.parametrize("size", [(110, 36), (80, 24)])
async def test_help_is_about_this_place(size: tuple[int, int]) -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=size) as pilot:
        await until(lambda: app.processes._list.rows)
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, HelpScreen))
        screen = app.screen
        assert isinstance(screen, HelpScreen)
        headings = [row.text for row in screen._list.rows if row.heading]
        assert headings[0] == "in tree" and headings[-1] == "what is painted" and "everywhere" in headings
        await pilot.press("G")
        assert screen._list.row == screen._list.rows[-1]
        type_ahead(app, "/layer\r")
        await until(lambda: screen._list.has_focus and len(screen._list.rows) < 40)
        assert [row.name for row in screen._list.rows] and not any(row.heading for row in screen._list.rows)
        await pilot.press("escape")
        type_ahead(app, "/layers of the target\r")
        await until(lambda: screen._list.has_focus and len(screen._list.rows) < 5)
        await pilot.press("enter")
        await until(lambda: app.current_mode == "stack")


async def test_the_keys_keep_to_the_rules() -> None:
    """Whatever has the focus: no key means two things, every key has a sentence."""
    app = LaminaApp(Session())
    async with app.run_test(size=(80, 24)) as pilot:
        for mode, frame in app.screens():
            await app.show(mode)
            assert app.screen is frame and isinstance(frame, PanedScreen)
            for pane in frame.panes:
                frame.go_to_pane(pane)
                await pilot.pause()
                shown = defaultdict(set)
                for action in actions_here(frame):
                    assert action.does and action.does != action.name, f"{mode}: {action.keys} has no sentence"
                    if action.context != EVERYWHERE:
                        for key in action.keys.split():
                            shown[key].add(action.name)
                twice = {key: names for key, names in shown.items() if len(names) > 1}
                assert not twice, f"{mode}, {pane.border_title}: {twice}"


def keys() -> list[tuple[str, Binding]]:
    lists = {name: value for name, value in vars(keymap).items() if name.endswith("_KEYS")}
    return [(name, binding) for name, value in lists.items() for binding in Binding.make_bindings(value)]


def test_every_key_has_a_sentence() -> None:
    assert not [f"{name}: {binding.key}" for name, binding in keys() if not binding.tooltip]


def test_a_key_means_the_same_everywhere() -> None:
    for name, binding in keys():
        if name in ("DIALOG_KEYS", "CHOOSE_STACK_KEYS"):
            continue  # a dialog has nothing but its answers
        assert binding.description in SAME.get(binding.key, {binding.description}), f"{name}: {binding.key} is {binding.description!r}"
