"""Layers that come and go while they are shown, by another's hand."""

import shutil
from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.model.settings import Settings
from tests.corpus import unpack
from tests.tui.waiting import until


async def test_layers_that_others_take_away_and_bring(tmp_path: Path) -> None:
    stack = unpack("lamina-0.1/three", tmp_path)
    app = LaminaApp(Session(stack, settings=Settings(refresh=0.05)))

    def shown() -> list[str]:
        return sorted(row.name for row in app.session.stack.rows) if app.session.stack else []

    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await until(lambda: shown() == ["1", "2", "3"])
        shutil.move(stack / "2", tmp_path / "2")
        await until(lambda: shown() == ["1", "3"])
        await until(lambda: any(row.finding for row in app.session.stack.rows))  # type: ignore[union-attr]
        shutil.move(tmp_path / "2", stack / "2")
        await until(lambda: shown() == ["1", "2", "3"])
        shutil.rmtree(stack)
        await until(lambda: shown() == [])
    assert not app.last_words
