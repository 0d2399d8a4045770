"""The end of a terminal: nothing of it stays open in lamina, and what its leader says is understood or said to be nonsense."""

import json
import os
import sys
from pathlib import Path

import pytest

from lamina.core.errors import LaminaError
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.terminal.attachment import begin
from lamina.tui.terminal.holders import held_terminals, terminals_dir
from lamina.tui.terminal.leader import Held, start
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
        await app.terminals.start([sys.executable, "-c", "print('that was all')"])
        await until(lambda: app.terminals.shown is not None and not app.terminals.shown.alive)
        assert masters() == before + 1
        app.terminals.forget()
        await until(lambda: masters() == before)
        assert not app.terminals.all
        await until(lambda: not held_terminals())
        assert not list(terminals_dir().iterdir())


async def test_of_a_screen_that_cannot_be_read_nothing_is_shown() -> None:
    terminal = Terminal((40, 10), lambda _terminal: None)
    terminal.emulator.feed(b"of the program before")
    half = json.loads(terminal.emulator.save()) | {"modes": ["x"]}
    line = begin(terminals_dir(), [sys.executable, "-c", "input()"], "python", (40, 10), json.dumps(half))
    try:
        with pytest.raises(ValueError):
            terminal.hold(Held(1, "python", line))
        assert terminal.alive and not terminal.emulator.text.strip() and terminal.emulator.size == (40, 10)
    finally:
        await terminal.end()
    assert not held_terminals()


def test_a_leader_whose_words_make_no_sense_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    before = masters()
    monkeypatch.setattr("lamina.tui.terminal.leader.Progress", None)
    monkeypatch.setattr(
        "lamina.tui.terminal.leader.begin",
        lambda where, _leader, *rest: begin(where, ["sh", "-c", "echo nonsense >&3; echo '{\"progress\": {}}' >&3; exec sleep 60"], *rest),
    )
    with pytest.raises(TypeError):
        start(["true"], (40, 10))
    assert masters() == before and not held_terminals()
    monkeypatch.undo()
    with pytest.raises(LaminaError):
        start(["/nowhere"], (40, 10))
    assert masters() == before
