"""Screen 6 with a real python prompt: a layer brings back the program and its screen, and all keys but the prefix are the program's."""

import json
import sys
from pathlib import Path

import pytest
from textual import events

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model import journal
from lamina.tui.model.guide import Guide
from lamina.tui.model.session import Session
from lamina.tui.terminal.emulator import Emulator
from tests.live.harness import Reaper
from tests.tui.waiting import until


def type_in(app: LaminaApp, text: str) -> None:
    """Letters, as the terminal sends them; "\n" is Enter."""
    for letter in text:
        app.post_message(events.Key("enter", "\r") if letter == "\n" else events.Key(letter if letter.isalnum() else "x", letter))


def press(app: LaminaApp, *keys: str) -> None:
    for key in keys:
        app.simulate_key(key)


@pytest.fixture(autouse=True)
def no_guide(own_places: None) -> None:
    """Where the line of the guide goes the program's window grows, and the program draws its prompt anew."""
    Guide(*LaminaApp.GUIDE).remember()


def shown(app: LaminaApp) -> str:
    return app.terminals.shown.emulator.text.strip() if app.terminals.shown else ""


async def shows(app: LaminaApp, *lines: str) -> None:
    """Wait until these are the last lines of the terminal."""
    try:
        await until(lambda: shown(app).splitlines()[-len(lines) :] == list(lines))
    except AssertionError as error:
        raise AssertionError(f"waiting for {lines}, the terminal shows:\n{shown(app)}") from error


async def done(app: LaminaApp, kind: str) -> None:
    """Wait for the operation that is newest, and for the stack after it."""
    await until(lambda: app.journal.newest and app.journal.newest.operation.kind == kind and app.journal.newest.state != journal.RUNNING)
    job = app.journal.newest
    assert job is not None and job.state == journal.DONE, job


async def answer(app: LaminaApp, *keys: str) -> None:
    """Press *keys* in the dialog that comes."""
    await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
    press(app, *keys)


async def layer(app: LaminaApp, count: int) -> None:
    press(app, "ctrl+g", "d")
    await done(app, "dump")
    await until(lambda: app.session.stack and len(app.session.stack.rows) == count)


def kept(path: Path) -> str:
    """What the layer keeps of the terminal."""
    emulator = Emulator(1, 1, lambda _answer: None)
    text = (path / "lamina-terminal.json").read_text()
    emulator.resize(json.loads(text)["columns"], json.loads(text)["lines"])
    emulator.load(text)
    return emulator.text


async def test_a_python_prompt_and_its_screen_go_back(reaper: Reaper, tmp_path: Path) -> None:
    stack = tmp_path / "shots"
    app = LaminaApp(Session(stack))
    app.first_command = [sys.executable, "-q"]
    async with app.run_test(size=(100, 30)):
        # What is typed while it starts is for it: q is no wish to leave.
        await until(lambda: app.terminals.typed_ahead is not None and app.screen is app.terminal_screen)
        type_in(app, "q = 1\n")
        await shows(app, ">>> q = 1", ">>>")
        terminal = app.terminals.shown
        assert terminal is not None and app.current_mode == "terminal"
        reaper.watch(terminal.pid)
        # Keys of lamina, of Textual and of the terminal line all go to the program.
        type_in(app, "dq6")
        await shows(app, ">>> dq6")  # a signal from the keyboard throws away what was typed and not read
        press(app, "ctrl+z", "ctrl+c")
        await shows(app, ">>> dq6", "KeyboardInterrupt", ">>>")
        type_in(app, "x = 41\n")
        await shows(app, ">>> x = 41", ">>>")
        await layer(app, 1)
        first = shown(app)
        assert kept(stack / "1").strip() == first
        assert "lamina-terminal.json" in json.loads((stack / "1" / "lamina.json").read_text())["checksums"]

        type_in(app, "x = 1000\nx + 1\n")
        await shows(app, "1001", ">>>")
        await layer(app, 2)
        type_in(app, "x = 5\n")
        await shows(app, ">>> x = 5", ">>>")
        last = shown(app)

        press(app, "ctrl+g", "down", "r")
        await answer(app, "right", "enter")
        await done(app, "restore")
        assert app.journal.jobs[0].command.endswith("shots/1 --replace -j") and terminal.alive
        assert shown(app) == first, shown(app)
        type_in(app, "x + 1\n")
        await shows(app, ">>> x + 1", "42", ">>>")
        rescue = stack / f"rescue-{terminal.pid}-1"
        await until((rescue / "lamina-terminal.json").exists)
        assert kept(rescue).strip() == last

        type_in(app, "exit()\n")
        await until(lambda: not terminal.alive and app.session.target and not app.session.target.alive)
        assert terminal.ending == "has ended with exit status 0" and ">>> exit()" in shown(app) and not app.terminal_screen.takes_keys
        # Now keys are lamina's again, without the prefix.
        press(app, "up", "r")
        await answer(app, "right", "enter")
        await until(lambda: app.terminals.typed_ahead is None and app.terminal_screen.takes_keys)
        type_in(app, "x\n")
        await shows(app, ">>> x", "1000", ">>>")

        press(app, "ctrl+g", "q")
        await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
        assert f"{terminal.name} {terminal.pid} runs in a terminal" in str(app.screen.query("Static").first().render())
        press(app, "right", "right", "enter")
        await until(lambda: not app.is_running)
    assert kept(stack / "3").strip() == shown(app)  # dumped first


async def test_a_program_that_writes_without_end_loses_no_byte(reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept and what is written after the restore join; and what goes wrong is said in the engine's words."""
    fed: list[bytes] = []
    feed = Emulator.feed

    def noting(emulator: Emulator, data: bytes) -> None:
        fed.append(data)
        feed(emulator, data)

    monkeypatch.setattr(Emulator, "feed", noting)
    app = LaminaApp(Session(tmp_path / "shots"))
    app.first_command = [sys.executable, "-c", "import itertools\nfor number in itertools.count(): print(number)"]
    async with app.run_test(size=(80, 24)):
        await until(lambda: shown(app).count("\n") > 10)
        terminal = app.terminals.shown
        assert terminal is not None
        reaper.watch(terminal.pid)
        await layer(app, 1)
        press(app, "ctrl+c")
        await until(lambda: app.key_rules.program_left_at)  # the app has seen that it ended: a key before that was meant for the program
        assert terminal.ending == "was ended by SIGINT" and "KeyboardInterrupt" in shown(app)
        before = kept(tmp_path / "shots" / "1")
        fed.clear()
        press(app, "r")
        await answer(app, "right", "enter")
        await until(lambda: terminal.alive and sum(map(len, fed)) > 1000)
        press(app, "ctrl+c")
        await until(lambda: app.key_rules.program_left_at)
        written = before.replace("\n", "\r\n").encode() + b"".join(fed)
        numbers = [int(line) for line in written.split(b"\r\n")[:200]]
        assert numbers == list(range(numbers[0], numbers[0] + 200))

        (tmp_path / "shots" / "1" / "files.img").write_bytes(b"damaged")
        press(app, "r")
        await answer(app, "right", "enter")
        await until(lambda: app.journal.jobs[0].operation.kind == "restore" and app.journal.jobs[0].state == journal.FAILED)
        assert "files.img" in app.journal.jobs[0].outcome and not terminal.alive
        await app.terminals.start(["no such program"])
        await until(lambda: app.journal.jobs[0].operation.title == "start no such program" and app.journal.jobs[0].state == journal.FAILED)
        assert app.journal.jobs[0].outcome == "cannot run no such program: No such file or directory"
