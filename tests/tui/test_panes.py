"""Panes: Tab goes through them, f shows one alone, letters lead to them, their edges move; one at a time where it is narrow."""

from textual.pilot import Pilot

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.pane_letters import PaneLetters
from lamina.tui.model.session import Session
from tests.tui.waiting import until


async def opened(app: LaminaApp, pilot: Pilot[None]) -> None:
    await until(lambda: app.processes._list.rows)
    await pilot.press("2")
    await until(lambda: app.screen is app.target_screen and app.focused)


async def test_tab_letters_and_one_alone() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 36)) as pilot:
        await opened(app, pilot)
        screen = app.target_screen
        panes = screen.panes
        seen = []
        for _ in panes:
            seen.append(screen.pane)
            await pilot.press("tab")
        assert seen == panes and screen.pane is panes[0]
        await pilot.press("shift+tab")
        assert screen.pane is panes[-1]

        await pilot.press("ctrl+o")
        await until(lambda: isinstance(app.screen, PaneLetters))
        await pilot.press("b")
        await until(lambda: screen.pane is panes[1])

        small = panes[1].size
        await pilot.press("f")
        await until(lambda: panes[1].size.width > 100)
        await pilot.press("tab")
        await until(lambda: panes[2].size.width > 100)
        await pilot.press("escape")
        await until(lambda: panes[1].size == small)
        assert screen.is_current


async def test_edges_move_by_mouse_and_key() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 36)) as pilot:
        await until(lambda: app.processes._list.rows)
        left, right = app.processes.panes[:2]
        edge = right.region.x
        await pilot.mouse_down(offset=(edge, 12))
        await pilot.hover(offset=(edge - 20, 12))
        await pilot.mouse_up(offset=(edge - 20, 12))
        await until(lambda: right.region.x == edge - 20)
        assert right.region.right == 110
        app.processes.go_to_pane(left)
        await pilot.press("ctrl+right")
        await until(lambda: left.region.right == right.region.x == edge - 18)
        rows = app.processes._list
        await pilot.click(rows, offset=(10, 4))
        assert rows.has_focus and rows._at == 3


async def test_one_at_a_time_on_a_small_terminal() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: app.processes._list.rows)
        first, second = app.processes.panes[:2]
        await until(lambda: first.size.width > 70 and first.size.height > 16)
        await pilot.press("tab")
        await until(lambda: second.size.width > 70 and second.size.height > 16)
        await pilot.resize_terminal(110, 36)
        await until(lambda: first.region.right == second.region.x)
