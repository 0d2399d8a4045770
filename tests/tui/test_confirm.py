"""The dialog before something is destroyed: safe first, always in sight, and hard to hit where nothing brings it back."""

from textual.pilot import Pilot
from textual.widgets import Button

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model.session import Session
from tests.tui.waiting import until

CHOICES = [Choice("cancel", "Cancel"), Choice("prune", "Prune", danger=True), Choice("remove", "Remove for good", worst=True)]


async def answer(pilot: Pilot[None], *keys: str) -> str | None:
    """What the keys lead to."""
    answers: list[str | None] = []
    dialog = Confirm("Prune shots", [f"layer {number} goes" for number in range(40)], CHOICES)
    pilot.app.push_screen(dialog, answers.append)
    await until(lambda: isinstance(dialog.focused, Button) and dialog.focused.size)
    assert all(0 < button.region.y < 22 and button.region.right < 78 for button in dialog.query(Button))
    await pilot.press("pagedown", *keys)
    await until(lambda: answers)
    return answers[0]


async def test_the_safe_answer_is_first_and_the_worst_is_not_come_to_by_arrows() -> None:
    async with LaminaApp(Session()).run_test(size=(80, 24)) as pilot:
        assert await answer(pilot, "enter") == "cancel"
        assert await answer(pilot, "l", "right", "right", "j", "enter") == "prune"
        assert await answer(pilot, "tab", "tab", "left", "enter") == "cancel"
        assert await answer(pilot, "tab", "tab", "enter") == "remove"
        assert await answer(pilot, "right", "escape") is None
