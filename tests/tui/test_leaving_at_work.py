"""Who leaves lamina while it looks through memory gets the shell at once: threads are waited for, so what they do is cancelled."""

from pathlib import Path

from lamina.core.events import CancelToken
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.compared import Compared
from lamina.tui.model.session import Session
from tests.corpus import unpack
from tests.tui.waiting import until


async def test_searches_and_comparisons_are_given_up(tmp_path: Path) -> None:
    stack = next(unpack("lamina-0.1/three", tmp_path).rglob("inventory.img")).parents[1]
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(110, 36)) as pilot:
        await pilot.press("4")
        await until(lambda: app.current_mode == "image" and app.image.is_attached)
        search = app.image._searching = CancelToken()
        app.show_difference(Compared(stack / "1", stack / "2"))
        await until(lambda: app.current_mode == "diff" and app.diff._view is not None)
        comparison = app.diff._comparison
        assert comparison is not None and not search.cancelled and not comparison.cancel.cancelled
        app.exit()
    assert search.cancelled and comparison.cancel.cancelled
