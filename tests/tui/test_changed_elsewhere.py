"""Layers that come and go while they are shown, by another's hand."""

import shutil
import time
from pathlib import Path

import pytest

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.layers import StackView
from lamina.tui.model.session import Session
from lamina.tui.model.settings import Settings
from tests.corpus import unpack
from tests.tui.waiting import until


@pytest.mark.parametrize("takes", [0, 0.2], ids=["quick", "slow"])
async def test_layers_that_others_take_away_and_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: float) -> None:
    """Judging a stack may take longer than the time between two looks at it."""
    stack = unpack("lamina-0.1/three", tmp_path)
    app = LaminaApp(Session(stack, settings=Settings(refresh=0.05)))
    judge = app.reader.stacks.judge

    def judge_slowly(place: Path) -> StackView:
        time.sleep(takes)
        return judge(place)

    monkeypatch.setattr(app.reader.stacks, "judge", judge_slowly)

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
    assert not app.leaving.last_words
