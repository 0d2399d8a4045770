"""Takes the pictures."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from tests.live.harness import reap_orphans
from tests.tui.svg_cells import Cells, cells, framed

PATIENCE_S = 60
DARK, LIGHT = "lamina", "lamina-light"


async def until(reached: Callable[[], object]) -> None:
    """Let the app work until *reached*."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the app does not come to the state of the picture")
        reap_orphans()
        await asyncio.sleep(0.02)


class Camera:
    """Writes pictures to *place*, and PNGs of them to *look*."""

    def __init__(self, place: Path, look: Path) -> None:
        self._place, self._look = place, look
        self._film: list[tuple[Cells, float]] = []

    def shoot(self, app: LaminaApp, name: str) -> None:
        """NAME.svg of what *app* shows."""
        self._write(name, [(_seen(app), 1.0)])

    async def both(self, app: LaminaApp, name: str) -> None:
        """NAME.svg, and NAME-light.svg in the light theme."""
        for theme, suffix in ((DARK, ""), (LIGHT, "-light")):
            app.theme = theme
            await asyncio.sleep(0.6)
            app.clear_notifications()
            await asyncio.sleep(0.3)
            self.shoot(app, name + suffix)
        app.theme = DARK
        await asyncio.sleep(0.3)

    def film(self, app: LaminaApp, seconds: float) -> None:
        """One picture of a film, which is to be seen for so long."""
        self._film.append((_seen(app), seconds))

    def cut(self, name: str) -> None:
        """NAME.svg, the film, and NAME-1.svg, NAME-2.svg, …, its pictures."""
        for number, picture in enumerate(self._film, 1):
            self._write(f"{name}-{number}", [picture])
        self._write(name, self._film)
        self._film = []

    def _write(self, name: str, pictures: list[tuple[Cells, float]]) -> None:
        picture = self._place / f"{name}.svg"
        picture.write_text(framed(pictures))
        if converter := shutil.which("rsvg-convert"):
            self._look.mkdir(parents=True, exist_ok=True)
            subprocess.run([converter, "-o", self._look / f"{name}.png", picture], check=True)
        print(f"{picture.name}  {picture.stat().st_size >> 10} KiB", flush=True)


def _seen(app: LaminaApp) -> Cells:
    return cells(app.export_screenshot())
