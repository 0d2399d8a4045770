"""The end of a terminal: nothing of it stays open in lamina, and nobody but its own leader is told to end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.core.errors import LaminaError
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.terminal.leader import Held, start
from lamina.tui.terminal.pty import Pty
from lamina.tui.terminal.terminal import Terminal
from tests.tui.waiting import until


def masters() -> int:
    """How many pseudo terminals this process holds."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(fd))
        except FileNotFoundError:
            continue  # the one that listed them
    return sum(link.endswith("ptmx") for link in links)


async def test_a_terminal_that_is_forgotten_is_closed() -> None:
    before = masters()
    app = LaminaApp(Session(None))
    async with app.run_test():
        await app.start_program([sys.executable, "-c", "print('that was all')"])
        await until(lambda: app.terminal is not None and not app.terminal.alive)
        assert masters() == before + 1
        app.forget_terminal()
        await until(lambda: masters() == before)
        assert not app.terminals


async def test_a_pid_that_another_has_by_now_is_left_alone() -> None:
    pty = Pty([sys.executable, "-c", "pass"], 40, 10)
    terminal = Terminal((40, 10), lambda _terminal: None)
    terminal.hold(Held(pty.pid, "python", pty))
    await until(lambda: not terminal.alive)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pty.pid = stranger.pid
        await terminal.close()
        assert stranger.poll() is None
        stranger.communicate(b"\n")
        assert stranger.returncode == 0


async def test_of_a_screen_that_cannot_be_read_nothing_is_shown() -> None:
    pty = Pty([sys.executable, "-c", "input()"], 40, 10)
    terminal = Terminal((40, 10), lambda _terminal: None)
    terminal.emulator.feed(b"of the program before")
    half = json.loads(terminal.emulator.save()) | {"modes": ["x"]}
    try:
        with pytest.raises(ValueError):
            terminal.hold(Held(pty.pid, "python", pty, json.dumps(half)))
        assert terminal.alive and not terminal.emulator.text.strip() and terminal.emulator.size == (40, 10)
    finally:
        await terminal.close()


def test_a_leader_whose_words_make_no_sense_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = masters()
    talker = tmp_path / "talker"
    talker.write_text("#!/bin/sh\necho nonsense >&3\nexec sleep 60\n")
    talker.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(talker))
    with pytest.raises(ValueError):
        start(["true"], (40, 10))
    assert masters() == before
    monkeypatch.undo()
    with pytest.raises(LaminaError):
        start(["/nowhere"], (40, 10))
    assert masters() == before
