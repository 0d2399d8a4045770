"""Programs in terminals outlive the app; the next one shows them, in the background or as asked, and says who else does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamina.core.errors import TargetError, UsageError
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model.session import Session
from lamina.tui.terminal.attach_verb import chosen
from lamina.tui.terminal.attachment import ShownElsewhereError
from lamina.tui.terminal.holders import HeldTerminal, attach, held_terminals
from lamina.tui.terminal.leader import start
from tests.live.harness import alive, lamina, lamina_command, wait_gone
from tests.tui.terminal import terminal
from tests.tui.waiting import until

PROGRAM = [sys.executable, "-c", "print('present', flush=True)\nprint('got', input(), flush=True)\ninput()"]


def left_running() -> HeldTerminal:
    """One program that no lamina shows."""
    start(PROGRAM, (80, 20)).line.close()
    deadline = time.monotonic() + 20
    while held_terminals()[-1].lamina:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return held_terminals()[-1]


def shown(app: LaminaApp) -> str:
    return app.terminals.shown.emulator.text.strip() if app.terminals.shown else ""


async def leave(app: LaminaApp, *keys: str) -> str:
    """Leave, and answer by *keys*; returns the question."""
    app.action_leave()
    await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
    question = " ".join(str(part.render()) for part in app.screen.query("Static"))
    for key in keys:
        app.simulate_key(key)
    await until(lambda: not app.is_running)
    return question


async def test_left_running_and_shown_by_the_next_one() -> None:
    first = LaminaApp(Session())
    first.first_command = PROGRAM
    async with first.run_test(size=(100, 30)):
        await until(lambda: shown(first) == "present")
        assert "Left running, it goes on without lamina" in await leave(first, "right", "enter")
    (held,) = held_terminals()
    assert first.terminals.what_runs_on() == [f"{held.label} runs on in its terminal: lamina attach {held.pid}"]
    second = LaminaApp(Session())
    async with second.run_test(size=(100, 30)):
        # In the background: the first screen is what it always is.
        await until(lambda: second.terminals.all)
        assert second.current_mode == "processes"
        await until(lambda: shown(second) == "present")
        await until(lambda: second.processes._known.terminals.get(held.pid) == "this lamina")
        second.action_leave()  # nobody looked at it: nothing is asked, and it runs on
        await until(lambda: not second.is_running)
    third = LaminaApp(Session())
    async with third.run_test(size=(100, 30)):
        await until(lambda: third.terminals.all)
        await until(lambda: held.pid in third.processes._known.by_pid)
        third.processes.go_to_process(held.pid)
        await until(lambda: third.processes._list.row and third.processes._list.row.pid == held.pid)
        third.processes._list.action_choose()
        await until(lambda: third.current_mode == "terminal" and shown(third) == "present")
        assert third.terminals.shown is not None and third.terminals.shown.size == third.terminal_screen.size_inside
        third.terminals.shown.write(b"words\n")
        await until(lambda: shown(third).endswith("got words"))
        await leave(third, "tab", "tab", "tab", "enter")
    wait_gone(held.pid)
    assert not held_terminals()


async def test_what_was_asked_for_is_shown_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    held = left_running()
    app = LaminaApp(Session())
    app.terminals.wanted = held
    async with app.run_test(size=(100, 30)):
        await until(lambda: shown(app) == "present")
        assert app.current_mode == "terminal" and app.terminal_screen.takes_keys
        # Another lamina takes it: said, and it runs on.
        line = attach(held, take=True)
        await until(lambda: f"lamina {os.getpid()} shows it" in app.terminal_screen._view.note)
        assert app.terminals.shown and app.terminals.shown.elsewhere and not app.terminals.shown.alive
        line.close()
        await until(lambda: app.terminals.held and not app.terminals.held[held.pid].lamina)
        assert app.terminals.show_program(held.pid)
        await until(lambda: app.terminals.shown and app.terminals.shown.alive)
        os.kill(held.holder, signal.SIGKILL)
        await until(lambda: f"its holder, process {held.holder}, was ended" in app.terminal_screen._view.note)
        assert app.terminals.shown and not app.terminals.shown.alive
    wait_gone(held.pid)


async def test_a_terminal_of_another_lamina_is_asked_for() -> None:
    held = left_running()
    # Another one, as its holder sees it: a process that is not we.
    code = "from lamina.tui.terminal.holders import *; line = attach(held_terminals()[0]); print('shown', flush=True); input()"
    another = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert another.stdout and another.stdout.readline() == b"shown\n"
    pid = another.pid
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.terminals.held)
        assert not app.terminals.all
        assert app.processes._known.terminals == {held.pid: f"lamina {pid}"}
        assert app.terminals.show_program(held.pid)
        await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
        assert f"lamina {pid} shows" in " ".join(str(part.render()) for part in app.screen.query("Static"))
        app.simulate_key("right")
        app.simulate_key("enter")
        await until(lambda: app.current_mode == "terminal" and shown(app) == "present")
    another.communicate(b"\n")


async def test_read_only_shows_none() -> None:
    held = left_running()
    app = LaminaApp(Session(readonly=True))
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.terminals.held)
        assert app.terminals.show_program(held.pid) and not app.terminals.all and not held_terminals()[0].lamina


async def test_the_end_that_nobody_saw_is_seen_by_the_next_one() -> None:
    held = left_running()
    line = attach(held)
    line.type(b"first\nlast\n")
    line.close()
    wait_gone(held.pid)
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.terminals.all and app.terminals.all[0].ending)
        app.action_leave()
        await until(lambda: not app.is_running)
    assert [it.ended for it in held_terminals()] == [0]  # not seen yet
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)):
        await until(lambda: app.terminals.all and app.terminals.all[0].ending)
        app.show("terminal")
        await until(lambda: app.current_mode == "terminal" and "got first" in shown(app))
        await until(lambda: "has ended with exit status 0" in app.terminal_screen._view.note)
        app.action_leave()
        await until(lambda: not app.is_running)
    wait_gone(held.holder)
    assert not held_terminals()


def test_the_command_line() -> None:
    assert lamina("attach").out == "no program runs in a terminal of lamina's: lamina run -- COMMAND starts one\n"
    nobody = lamina("attach", "4711", ok=False)
    assert nobody.status == 1 and nobody.err == (
        "lamina: cannot attach 4711: no program runs in a terminal of lamina's (lamina attach lists them)\n"
    )
    held, other = left_running(), left_running()
    lines = lamina("attach").out.splitlines()
    assert lines[0].split() == ["PID", "NAME", "SINCE", "HOW", "IT", "GOES"] and len(lines) == 3
    assert str(held.pid) in lines[1] and "runs, and no lamina shows it" in lines[1]
    assert [it["pid"] for it in lamina("attach", "--json").json["terminals"]] == [held.pid, other.pid]
    assert "needs a terminal" in lamina("attach", held.pid, ok=False).err
    with pytest.raises(TargetError, match=f"that may be {held.label} or {other.label}"):
        chosen(held.name, take=False)
    with pytest.raises(UsageError, match="read only"):
        chosen(str(held.pid), take=False, readonly=True)
    line = attach(held)
    with pytest.raises(ShownElsewhereError, match=f"lamina {os.getpid()} .*--take takes it over"):
        chosen(str(held.pid), take=False)
    assert chosen(str(held.pid), take=True).key == held.key
    line.close()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP"])
def test_however_lamina_ends(tmp_path: Path, how: str) -> None:
    with terminal(tmp_path / "tmux", lamina_command("run", "--", *PROGRAM), 80, 24) as screen:
        screen.wait_for("present")
        (held,) = held_terminals()
        os.kill(held.lamina, signal.Signals[how])
        wait_gone(held.lamina)
        if how == "SIGTERM":
            screen.wait_for(f"lamina attach {held.pid}")
    assert alive(held.pid)
    if how == "SIGHUP":
        return
    with terminal(tmp_path / "again", lamina_command("attach", held.pid), 80, 24) as screen:
        screen.wait_for("present")
        screen.type("words")
        screen.press("Enter")
        screen.wait_for("got words")
    assert alive(held.pid)  # the terminal that lamina was in is gone


def test_a_lamina_does_not_show_the_terminal_that_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    held = left_running()
    monkeypatch.setattr(os, "ttyname", lambda _fd: held.tty)
    assert held.tty.startswith("/dev/pts/") and held.is_around_us
    for call in (lambda: attach(held), lambda: chosen(str(held.pid), take=True)):
        with pytest.raises(TargetError, match="this lamina runs in that terminal"):
            call()
