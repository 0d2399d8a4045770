"""Makes the pictures in this directory from a real session: `sudo .venv/bin/python screenshots/make.py`.

It runs in a pid namespace of its own, so that no process of the machine is in a picture. Each picture is an SVG; where rsvg-convert is
installed, there is a PNG of it in build/screenshots, for a quick look.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lamina.tui.app import LaminaApp
from lamina.tui.demo.host import DemoProgram
from lamina.tui.demo.run import DemoApp
from lamina.tui.model.session import Session

HERE = Path(__file__).resolve().parent
LOOK = HERE.parent / "build" / "screenshots"
INSIDE = "LAMINA_SCREENSHOTS_INSIDE"
PATIENCE_S = 60


async def until(reached: Callable[[], object]) -> None:
    """Let the app work until *reached*."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the app does not come to the state of the picture")
        await asyncio.sleep(0.02)


def shoot(app: LaminaApp, name: str) -> None:
    """Write NAME.svg."""
    # Without xml:space some renderers drop leading blanks, and with them the indentation.
    picture = HERE / f"{name}.svg"
    picture.write_text(app.export_screenshot(title="lamina").replace("<text ", '<text xml:space="preserve" '))
    if converter := shutil.which("rsvg-convert"):
        LOOK.mkdir(parents=True, exist_ok=True)
        subprocess.run([converter, "-o", LOOK / f"{name}.png", picture], check=True)
    print(picture.name)


def step(program: DemoProgram) -> int:
    """How far the demo program is."""
    cells = program.read()
    return cells.step if cells else -1


async def grow(program: DemoProgram, steps: int) -> None:
    """Let the crystal grow."""
    then = step(program) + steps
    await until(lambda: step(program) >= then)


async def dump(app: DemoApp, name: str) -> None:
    """Take a layer by its key."""
    app.simulate_key("d")
    await until(lambda: app.session.target and app.session.target.layer == app.program.images / name)
    await until(lambda: app.session.stack and any(row.name == name for row in app.session.stack.rows))


async def demo(size: tuple[int, int], suffix: str) -> None:
    """The first minute."""
    program = DemoProgram(seed=3)
    app = DemoApp(Session(), program)
    try:
        async with app.run_test(size=size) as pilot:
            await grow(program, 18)
            await dump(app, "1")
            await grow(program, 14)
            await dump(app, "2")
            await grow(program, 12)
            await asyncio.sleep(1)
            shoot(app, f"demo{suffix}")
            await pilot.press("down", "r")
            await asyncio.sleep(0.5)
            shoot(app, f"restore{suffix}")
            await pilot.press("right", "enter")
            await until(lambda: app.journal.jobs[0].act.kind == "restore" and app.journal.jobs[0].state == "ok")
            await grow(program, 8)
            await dump(app, "3")
            await asyncio.sleep(1)
            app.clear_notifications()
            shoot(app, f"stack{suffix}")
            await pilot.press("2")
            await grow(program, 8)
            await until(lambda: app.target_screen._memory is not None)
            await asyncio.sleep(1.5)
            shoot(app, f"target{suffix}")
            await pilot.press("3", "enter")
            await until(lambda: app.image._hex.under_cursor)
            await pilot.press("slash", *"crystal", "enter")
            await until(lambda: app.image._found.typed)
            await asyncio.sleep(0.5)
            shoot(app, f"image{suffix}")
            await pilot.press("5")
            await asyncio.sleep(0.5)
            shoot(app, f"jobs{suffix}")
    finally:
        program.end()


async def processes(size: tuple[int, int], suffix: str) -> None:
    """The first screen, on one of several programs."""
    program = DemoProgram(seed=4)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [["sleep", "1000"], ["sh", "-c", "sleep 1000 | cat"]]
    if shutil.which("redis-server"):
        commands.append(["redis-server", "--port", "6399", "--save", ""])
    others = [subprocess.Popen(command, start_new_session=True, cwd="/", **quiet) for command in commands]  # type: ignore[call-overload]
    app = LaminaApp(Session())
    try:
        async with app.run_test(size=size) as pilot:
            await until(lambda: app.processes._list.rows)
            await pilot.press("slash", *"crystal", "enter", "t")
            await until(lambda: app.session.target and app.session.target.tracker)
            await pilot.press("d")
            await until(lambda: app.session.target and app.session.target.layer)
            await pilot.press("escape")
            await asyncio.sleep(9)
            shoot(app, f"processes{suffix}")
            await pilot.press("question_mark")
            await asyncio.sleep(0.3)
            shoot(app, f"help{suffix}")
    finally:
        program.end()
        for other in others:
            other.kill()
            other.wait()


def main() -> int:
    """Make all pictures."""
    if os.environ.get(INSIDE) is None:
        command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv]
        with tempfile.TemporaryDirectory() as place:
            home = {"LAMINA_STATE_DIR": f"{place}/remembered", "XDG_STATE_HOME": f"{place}/state", "HOME": place}
            return subprocess.run(command, env=os.environ | home | {INSIDE: "1"}, check=False).returncode
    for size, suffix in (((110, 36), ""), ((80, 24), "-80x24")):
        asyncio.run(demo(size, suffix))
        asyncio.run(processes(size, suffix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
