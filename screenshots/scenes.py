"""What is shown: a redis that is written to, a python prompt that is rewound, a stack that criu wrote, the demo."""

import asyncio
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.demo.host import DemoProgram
from lamina.tui.demo.run import DemoApp
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model import journal
from lamina.tui.model.session import Session
from screenshots.camera import Camera, until
from tests.corpus import unpack
from tests.live.harness import Reaper, reaping
from tests.tui.svg_cells import cells

LARGE, SMALL = (110, 36), (80, 24)
PORT, USERS = 6399, 40_000


class Writer(threading.Thread):
    """Writes to redis, now and then, over connections that last for one burst; `calm` between two."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.go, self.calm = threading.Event(), threading.Event()
        self._number = 0

    def run(self) -> None:
        while True:
            self.calm.set()
            self.go.wait()
            self.calm.clear()
            with suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2) as redis:
                lines = []
                for _ in range(60):
                    self._number += 1
                    # Every 331st: neighbours lie on one page.
                    lines.append(f"SET user:{self._number * 331 % USERS:05} 'seen {self._number:06} times by lamina'\r\n")
                redis.sendall("".join(lines).encode())
                redis.recv(1 << 16)
            threading.Event().wait(0.3)


def start(reaper: Reaper, *command: str) -> int:
    """A program in a session of its own; its pid."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet)  # type: ignore[call-overload]
    process.returncode = 0
    reaper.watch(process.pid)
    pid: int = process.pid
    return pid


@contextmanager
def programs(reaper: Reaper) -> Iterator[tuple[int, Writer]]:
    """A redis with some users in it, and others beside it; its pid, and who writes to it."""
    # By its own name: on Debian the file is that of redis-check-rdb.
    server = Path.cwd() / "redis-server"
    if not server.exists():
        shutil.copy2(Path(str(shutil.which("redis-server"))).resolve(), server)
    start(reaper, "python3", "-m", "http.server", "6398", "--bind", "127.0.0.1")
    start(reaper, "sh", "-c", "sleep 1000 | cat")
    pid = start(reaper, "redis-server", "--port", str(PORT), "--save", "", "--enable-debug-command", "yes")
    asked = ["redis-cli", "-p", str(PORT)]
    while b"PONG" not in subprocess.run([*asked, "ping"], capture_output=True, check=False).stdout:
        threading.Event().wait(0.05)
    done = subprocess.run([*asked, "debug", "populate", str(USERS), "user", "512"], check=True, capture_output=True)
    assert done.stdout.strip() == b"OK", done.stdout
    writer = Writer()
    writer.start()
    yield pid, writer


def text_of(app: LaminaApp) -> str:
    """What can be read on the screen."""
    return "".join(cell.letter for _, cell in sorted(cells(app.export_screenshot()).items()))


async def ended(app: LaminaApp, kind: str) -> None:
    """The newest act is one of *kind* and has come to its end."""
    await until(lambda: app.journal.newest and app.journal.newest.operation.kind == kind and app.journal.newest.state != journal.RUNNING)
    job = app.journal.newest
    assert job is not None and job.state == journal.DONE, job


@dataclass
class WithRedis:
    """A redis in an app of one size."""

    camera: Camera
    app: LaminaApp
    pilot: Pilot[None]
    writer: Writer
    suffix: str

    async def shoot(self, name: str) -> None:
        """A picture of the screen; if it has the usual size, one of each theme."""
        await asyncio.sleep(0.8)
        if self.suffix:
            self.app.clear_notifications()
            await asyncio.sleep(0.3)
            self.camera.shoot(self.app, name + self.suffix)
        else:
            await self.camera.both(self.app, name)

    async def layer(self, number: int) -> None:
        """Let some be written, then take a layer while no client is connected."""
        self.writer.go.set()
        await asyncio.sleep(1.6)
        self.writer.go.clear()
        await until(self.writer.calm.is_set)
        await self.pilot.press("d")
        await ended(self.app, "dump")
        await until(lambda: self.app.session.stack and len(self.app.session.stack.rows) == number)

    async def layers(self) -> None:
        """Three layers, back to the second, two on that."""
        app, pilot = self.app, self.pilot
        for number in (1, 2, 3):
            await self.layer(number)
        await pilot.press("3")
        await until(lambda: "as of layer 3" in str(app.stack._strip.border_title))
        await pilot.press("down", "l", *"after the import", "enter")
        await ended(app, "label")
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Confirm))
        await self.shoot("restore")
        await pilot.press("right", "right", "enter")
        await ended(app, "restore")
        for number in (4, 5):
            await self.layer(number)

    async def looks(self) -> None:
        """At the stack, at what differs, at bytes, at what was done, and at the program as it runs."""
        app, pilot = self.app, self.pilot
        await pilot.press("down")
        await self.shoot("stack")
        await pilot.press("m", "down", "m")
        await until(lambda: app.current_mode == "diff" and app.diff._view and not app.diff._view.by_map)
        await self.shoot("diff")
        await pilot.press("3", "enter")
        await until(lambda: app.image._hex.under_cursor)
        await pilot.press("slash", *"seen 00", "enter")
        await asyncio.sleep(2)
        await self.shoot("image")
        await pilot.press("5")
        await self.shoot("jobs")
        self.writer.go.set()
        await pilot.press("2")
        await asyncio.sleep(20)
        await self.shoot("target")
        await pilot.press("1", "escape")
        await asyncio.sleep(5)
        if not self.suffix:  # on a small screen the detail is a key away
            # Not while a client is connected, which stands in the way of a dump.
            await until(lambda: "✓ can be dumped" in text_of(app))
        await self.shoot("processes")
        await pilot.press("question_mark")
        await self.shoot("help")
        self.writer.go.clear()


async def session_with_redis(camera: Camera, size: tuple[int, int], suffix: str) -> None:
    """Every screen but the terminal."""
    with reaping() as reaper, programs(reaper) as (pid, writer):
        app = LaminaApp(Session())
        async with app.run_test(size=size) as pilot:
            await until(lambda: any(row.pid == pid for row in app.processes._list.rows))
            await pilot.press("slash", *"redis-server", "enter")
            await pilot.pause()
            await pilot.press("enter")
            await until(lambda: app.session.target and app.session.target.pid == pid)
            it = WithRedis(camera, app, pilot, writer, suffix)
            await it.layers()
            await it.looks()


async def redis_large(camera: Camera) -> None:
    """On 110x36, dark and light."""
    await session_with_redis(camera, LARGE, "")


async def redis_small(camera: Camera) -> None:
    """On 80x24."""
    await session_with_redis(camera, SMALL, "-80x24")


async def rewind(camera: Camera) -> None:
    """A python prompt is wound back, with its screen."""
    app = LaminaApp(Session())
    app.first_command = ["python3", "-q"]
    with reaping() as reaper:
        async with app.run_test(size=SMALL) as pilot:

            def shown() -> str:
                return app.terminals.shown.emulator.text.rstrip() if app.terminals.shown else ""

            async def type_in(line: str) -> None:
                for letter in line:
                    app.simulate_key({" ": "space", "\n": "enter"}.get(letter, letter))
                    await asyncio.sleep(0.02)
                await until(lambda: shown().endswith(">>>"))

            async def film(seconds: float) -> None:
                app.clear_notifications()
                await asyncio.sleep(0.4)
                camera.film(app, seconds)

            await until(lambda: shown().endswith(">>>"))
            assert app.terminals.shown is not None
            reaper.watch(app.terminals.shown.pid)
            await type_in("words = 'a page is four kibibytes'.split()\n")
            await type_in("len(words)\n")
            await film(2.5)
            await pilot.press("ctrl+g", "d")
            await ended(app, "dump")
            await film(2)
            await type_in("words.append('of memory')\n")
            await pilot.press("ctrl+g", "d")
            await ended(app, "dump")
            await type_in("words.clear()\n")
            await type_in("words\n")
            await film(3)
            await pilot.press("ctrl+g", "down")
            await film(2)
            await pilot.press("r")
            await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
            await pilot.press("right")
            await asyncio.sleep(0.8)
            await film(3.5)
            await pilot.press("enter")
            await ended(app, "restore")
            await until(lambda: "clear" not in shown())
            await film(2.5)
            await type_in("words\n")
            await film(4)
            camera.cut("rewind")
            await asyncio.sleep(2.5)
            await camera.both(app, "terminal")


async def of_criu(camera: Camera) -> None:
    """A stack that criu wrote, and no process."""
    app = LaminaApp(Session(unpack("criu-3.17.1/kinds", Path.cwd()).rename(Path.cwd() / "from-criu")))
    async with app.run_test(size=LARGE) as pilot:
        await until(lambda: "as of layer" in str(app.stack._strip.border_title))
        await asyncio.sleep(1.5)
        await camera.both(app, "criu-stack")
        await pilot.press("enter")
        await until(lambda: app.image._hex.under_cursor)
        await pilot.press("slash", *"shared by", "enter")
        await asyncio.sleep(2)
        await camera.both(app, "criu-image")


async def demo(camera: Camera) -> None:
    """What `make demo` shows."""
    program = DemoProgram(seed=3)
    app = DemoApp(Session(), program)

    def step() -> int:
        found = program.read()
        return found.step if found else -1

    async def grow(steps: int) -> None:
        then = step() + steps
        await until(lambda: step() >= then)

    async def take(pilot: Pilot[None], name: str) -> None:
        await pilot.press("d")
        await until(lambda: app.session.target and app.session.target.layer == app.program.images / name)
        await until(lambda: app.session.stack and any(row.name == name for row in app.session.stack.rows))

    try:
        async with app.run_test(size=LARGE) as pilot:
            await until(lambda: app.session.target and app.target_screen.is_current)
            await grow(18)
            await take(pilot, "1")
            await grow(14)
            await take(pilot, "2")
            await grow(12)
            await pilot.press("3")
            await asyncio.sleep(1.5)
            await camera.both(app, "demo")
    finally:
        program.end()


ALL: dict[str, Callable[[Camera], Coroutine[None, None, None]]] = {
    "redis": redis_large, "redis-small": redis_small, "rewind": rewind, "criu": of_criu, "demo": demo,
}  # fmt: skip
