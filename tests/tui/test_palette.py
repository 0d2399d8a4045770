"""The palette finds every action, also those of other screens, and does them there."""

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.keys.actions import actions_elsewhere, actions_here
from lamina.tui.keys.palette import LaminaPalette
from lamina.tui.model.session import Session
from tests.tui.waiting import until


async def test_actions_of_here_and_of_other_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 36)) as pilot:
        await until(lambda: app.processes._list.rows)
        palette = LaminaPalette(app.screen)
        await palette.startup()
        names = [hit.text for hit in [hit async for hit in palette.discover()]]
        here = {action.name for action in actions_here(app.screen) if not action.moves}
        assert here - set(names) <= {"palette", "processes", "target", "stack", "image", "jobs", "terminal"} and "go to stack" in names
        assert {f"stack: {action.name}" for action in actions_elsewhere(app, app.screen) if action.mode == "stack"} <= set(names)
        assert "theme ansi-light" in names
        best = max([hit async for hit in palette.search("final")])
        assert best.text == "final dump" and "end the program" in str(best.help)

        # A key of another screen says where it belongs; one that belongs nowhere says nothing.
        said: list[str] = []
        monkeypatch.setattr(app.notices, "toast", lambda text, **_: said.append(text))
        for key in ("r", "delete", "e"):
            await pilot.press(key)
            await until(lambda: app.type_ahead.settled)
        await until(lambda: len(said) == 2)
        assert [text.partition(";")[0] for text in said] == [
            "r restore is a key of the stack screen", "Del drop is a key of the stack screen",
        ]  # fmt: skip

        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, CommandPalette))
        app.screen.query_one(Input).value = "image: find"
        options = app.screen.query_one(OptionList)
        await until(lambda: options.option_count and options.highlighted == 0)
        await pilot.press("enter")
        await until(lambda: app.current_mode == "image" and isinstance(app.focused, Input))
