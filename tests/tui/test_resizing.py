"""A terminal of any size, and one that changes: every screen goes on, and shows something of what it is about down to 20 by 5 cells."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from tests.corpus import unpack
from tests.tui.waiting import until

SIZES = [(40, 10), (20, 5), (3, 1), (100, 12), (200, 60)]
# What is to be seen of a screen wherever there are 20 by 5 cells.
TELLS = {"1": "PID", "2": "no target", "3": "LAYER", "4": "00 00", "5": "WORK", "6": "No program"}


def text_of(app: LaminaApp) -> Iterator[str]:
    for strip in app.screen._compositor.render_strips():
        yield strip.text


def fills(app: LaminaApp, size: tuple[int, int]) -> bool:
    return bool(app.screen_stack) and tuple(app.screen.size) == size


def says(app: LaminaApp, word: str) -> bool:
    return bool(app.screen_stack) and any(word in line for line in text_of(app))


async def test_every_screen_in_every_size(tmp_path: Path) -> None:
    app = LaminaApp(Session(unpack("lamina-0.1/three", tmp_path)))
    async with app.run_test(size=(110, 36)) as pilot:
        await pilot.press("3")
        await until(lambda: app.session.stack and app.session.stack.rows)
        await pilot.press("enter")
        await until(lambda: app.current_mode == "image")
        for size in SIZES:
            await pilot.resize_terminal(*size)
            for key, tells in TELLS.items():
                await pilot.press(key)
                await until(partial(fills, app, size))
                shown = list(text_of(app))
                assert len(shown) == size[1] and all(len(line) == size[0] for line in shown)
                if size >= (20, 5) and size[1] >= 5:
                    await until(partial(says, app, tells))
            if size == (40, 10):
                await pilot.press("3", "r")
                await until(partial(says, app, "Cancel"))
                assert says(app, "Restore layer"), "the answers are in view, and what they are about"
                await pilot.press("escape")
