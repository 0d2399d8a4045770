"""A terminal outlives lamina: the holder keeps the program, what it wrote, what was typed, and gives the same screen to the next one."""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.errors import TargetError
from lamina.tui.terminal import attachment
from lamina.tui.terminal.attachment import Ended, Gone, ShownElsewhereError, Taken, UpToDate, begin
from lamina.tui.terminal.follower import Follower
from lamina.tui.terminal.holders import HeldTerminal, attach, forget, held_terminals, terminals_dir
from tests.live.harness import PATIENCE_S, wait_gone

# Says where it is when it is told to go on, so nothing is waited for by sleeping.
STEPS = """
import os, sys, termios, tty
tty.setcbreak(0, termios.TCSANOW)
print("ready", flush=True)
os.read(0, 1)
exec(sys.argv[1])
"""


def start(code: str, *words: object) -> Follower:
    words = (sys.executable, "-c", STEPS, code, *words)
    follower = Follower(begin(terminals_dir(), list(map(str, words)), "steps", (40, 10), blocking=True))
    shows(follower, "ready")
    follower.line.type(b"!")
    return follower


def follow(follower: Follower, reached: Callable[[], object]) -> object:
    """Follow until *reached*, or an event that ends it; returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, f"the terminal shows\n{follower.emulator.text}"
        if follower.line.wait(0.05):
            event = follower.take()
            if isinstance(event, Ended | Gone | Taken):
                return event
    return None


def shows(follower: Follower, text: str) -> None:
    follow(follower, lambda: text in follower.emulator.text)


def shows_all(follower: Follower) -> None:
    place = written_so_far(follower)
    follow(follower, lambda: follower.line.place >= place)


def written_so_far(follower: Follower) -> int:
    """Asked again while a program that writes without end leaves the holder no time: a dump would say so instead of waiting."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return follower.line.place_now()
        except TargetError as error:
            assert "too busy" in str(error) and time.monotonic() < deadline, error


def only() -> HeldTerminal:
    (held,) = held_terminals()
    return held


def again() -> Follower:
    """The next lamina, which has seen what was before."""
    follower = Follower(attach(only(), blocking=True))
    up_to_date: list[object] = []
    deadline = time.monotonic() + PATIENCE_S
    while not up_to_date:
        assert time.monotonic() < deadline
        if follower.line.wait(0.05):
            event = follower.take()
            up_to_date += [event] if isinstance(event, UpToDate) else []
    return follower


def killed(follower: Follower) -> str:
    """As SIGKILL leaves it: nothing is said. Returns what was shown, which was all that was written."""
    shows_all(follower)
    shown = follower.emulator.save()
    follower.line._connection.close()
    follower.line._close_fds()
    return shown


def test_the_next_one_shows_the_same_screen() -> None:
    first = start(
        "print('\\x1b[31mred\\x1b[0m'); print('\\x1b[?1049h\\x1b[3;6rthe other \\x1b[1mscreen\\x1b[?25l\\x1b[4;2H', end='', flush=True)\n"
        "sys.stdin.read(1); print('\\x1b[Lmore', end='', flush=True)\n"
        "sys.stdin.read(1); print('\\x1b[?1049l\\x1b[rback\\x1b[?25h', flush=True); sys.stdin.read(1)"
    )
    shows(first, "the other screen")
    shown = killed(first)
    second = again()
    assert second.emulator.save() == shown and second.emulator.cursor is None
    second.line.type(b"x")
    shows(second, "more")
    shown = killed(second)
    third = again()
    assert third.emulator.save() == shown
    third.line.type(b"x")
    shows(third, "back")
    shows_all(third)
    assert third.emulator.text.splitlines()[:3] == ["ready", "red", "back"] and third.emulator.cursor == (0, 3)
    third.line.type(b"x")
    assert follow(third, lambda: False) == Ended(0)
    third.line.seen()
    wait_gone(third.line.holder)
    assert not list(terminals_dir().iterdir())


def test_changes_of_the_window_are_shown_where_they_came() -> None:
    first = start("print('x' * 60); sys.stdin.read(1); sys.stdout.write('y' * 60); sys.stdout.flush(); sys.stdin.read(1)")
    shows(first, "x" * 20)
    first.resize(30, 8)
    first.line.type(b"g")
    follow(first, lambda: first.emulator.text.count("y") == 60 + "ready".count("y"))
    shown = killed(first)
    second = again()
    assert second.emulator.save() == shown and second.emulator.size == (30, 8)
    second.keep()
    killed(second)
    third = again()
    assert third.emulator.save() == shown
    third.line.end()


def test_what_was_typed_and_not_read_is_read_after_the_kill() -> None:
    first = start("import signal; signal.pause()")
    pid = int(Path(f"/proc/{first.line.holder}/task/{first.line.holder}/children").read_text())
    for at in range(0, 30000, 100):
        first.line.type(b"%05d," % at)  # more than a terminal holds
    killed(first)
    second = again()
    assert Path(f"/proc/{pid}").exists()
    second.line.end()

    reads = start("sys.stdin.read(1); print(len(sys.stdin.read(5000)), flush=True); sys.stdin.read()")
    for at in range(0, 6000, 6):
        reads.line.type(b"%05d," % at)
    killed(reads)
    second = again()
    shows(second, "5000")
    second.line.end()


def test_an_answer_is_given_once() -> None:
    """A program that asks where its cursor is gets one answer, however often what it wrote is emulated, and one even if nobody looks."""
    code = (
        "import os, select\n"
        "for number in range(3):\n"
        "    sys.stdin.read(1); print('asks', end='\\x1b[6n', flush=True); got = os.read(0, 20)\n"
        "    more = select.select([0], [], [], 0.3)[0]\n"
        "    print(number, len(got), bool(more), flush=True)\n"
        "sys.stdin.read()"
    )
    first = start(code)
    first.line.type(b"g")
    shows(first, "0 6 False")
    killed(first)
    second = again()
    second.line.type(b"g")
    shows(second, "1 6 False")
    second.line.type(b"g")
    killed(second)  # the stand-in answers
    deadline = time.monotonic() + PATIENCE_S
    third = again()
    while "2 6 False" not in third.emulator.text:
        assert time.monotonic() < deadline, third.emulator.text
        killed(third)
        time.sleep(0.1)
        third = again()
    third.line.end()


def test_the_stand_in_answers_while_nobody_looks() -> None:
    answered = terminals_dir().parent / "answered"
    code = "import os; os.read(0, 1); print('asks', end='\\x1b[6n', flush=True); got = os.read(0, 20); open(sys.argv[2], 'wb').write(got)"
    first = start(code, answered)
    first.line.type(b"g")
    killed(first)
    deadline = time.monotonic() + PATIENCE_S
    while not answered.exists() or not answered.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answered.read_bytes() == b"\x1b[2;5R"
    second = again()
    assert follow(second, lambda: False) == Ended(0)
    second.line.seen()


def test_output_without_end_neither_waits_for_ever_nor_fills_memory() -> None:
    first = start("import itertools\nfor number in itertools.count(): print(number, flush=True)")
    held = only()
    follow(first, lambda: first.line.place > 1000)
    killed(first)
    begun = _number(again())
    deadline = time.monotonic() + PATIENCE_S * 2
    while True:
        status = Path(f"/proc/{held.holder}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 20_000, status
        follower = again()
        if _number(follower) > begun + 30_000:
            break
        assert time.monotonic() < deadline, begun
        time.sleep(1.0)
    # In order, and nothing left out.
    lines = [int(line) for line in follower.emulator.text.split("\n")[1:-2]]
    assert lines == list(range(lines[0], lines[0] + len(lines)))
    attach(only()).end()
    wait_gone(held.holder)


def _number(follower: Follower) -> int:
    killed(follower)
    return int(follower.emulator.text.split("\n")[-4])


def test_the_place_of_a_freeze_is_exact() -> None:
    """Whoever reads meanwhile: what was written before it is before it, and nothing else."""
    code = (
        "import os\nout = os.open(sys.argv[2], os.O_WRONLY)\n"
        "for number in range(300):\n"
        "    os.read(0, 1); os.write(1, b'.' * (number * 7 % 1000)); os.write(out, b'%d ' % number)\n"
        "sys.stdin.read()"
    )
    fifo = terminals_dir().parent / "done"
    os.mkfifo(fifo)
    done = os.open(fifo, os.O_RDWR)
    follower = start(code, fifo)
    written = len("ready\r\n")
    for number in range(300):
        follower.line.type(b"g")
        assert select.select([done], [], [], PATIENCE_S)[0] and os.read(done, 100) == b"%d " % number
        written += number * 7 % 1000
        assert follower.line.place_now() == written
        if number % 3 == 0:
            while follower.line.wait(0):
                follower.take()
    marked: list[int] = []
    follower.mark(written - 5, lambda: marked.append(follower.emulator.text.count(".") + 0))
    follow(follower, lambda: follower.line.place == written)
    assert len(marked) == 1
    os.close(done)
    follower.line.end()


def test_two_laminas() -> None:
    first = start("print('here', flush=True); sys.stdin.read(1); print('on', flush=True); sys.stdin.read()")
    shows(first, "here")
    with pytest.raises(ShownElsewhereError, match=f"lamina {os.getpid()} on .* shows it"):
        attach(only())
    second = Follower(attach(only(), take=True, blocking=True))
    assert follow(first, lambda: False) == Taken(os.getpid())
    first.line.close()
    second.line.type(b"g")
    shows(second, "on")
    second.line.end()


def test_a_holder_that_is_killed_takes_the_program_with_it() -> None:
    first = start("print('here', flush=True); sys.stdin.read()")
    shows(first, "here")
    held = only()
    os.kill(held.holder, signal.SIGKILL)
    assert isinstance(follow(first, lambda: False), Gone)
    first.line.close()
    wait_gone(held.holder)
    assert not held_terminals() and not list(terminals_dir().iterdir())
    with pytest.raises(TargetError):
        attach(held)


def test_of_what_ended_unseen_the_last_screen_is_kept() -> None:
    first = start("print('here', flush=True); sys.stdin.read(1); print('the end'); sys.exit(3)")
    shows(first, "here")
    first.line.type(b"g")
    held = only()
    killed(first)
    deadline = time.monotonic() + PATIENCE_S
    while only().ended is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert only().ended == 3 and only().state == "ended with exit status 3"
    second = Follower(attach(only(), blocking=True))
    assert follow(second, lambda: False) == Ended(3)
    assert "the end" in second.emulator.text
    killed(second)
    deadline = time.monotonic() + PATIENCE_S
    while held_terminals():
        forget(only())
        assert time.monotonic() < deadline
        time.sleep(0.01)
    wait_gone(held.holder)


def test_one_that_nobody_told_to_begin_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """lamina is killed before the program began."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.waitpid(attachment._spawn(terminals_dir(), ["true"], "true", (40, 10), its.fileno()), 0)
    its.close()
    deadline = time.monotonic() + PATIENCE_S
    while not list(terminals_dir().iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    ours.close()
    while list(terminals_dir().iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nothing_of_lamina_is_open_in_the_program_or_the_holder() -> None:
    hears, tells = os.pipe()
    os.set_inheritable(tells, True)
    try:
        first = start("import os; print(sorted(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid(), flush=True); sys.stdin.read()")
        shows(first, "True")
        assert "['0', '1', '2', '3', '4']" in first.emulator.text  # its own look, and the reports of its leader
        os.close(tells)
        assert select.select([hears], [], [], 5)[0] and os.read(hears, 1) == b""
    finally:
        os.close(hears)
    first.line.end()


def test_a_stranger_may_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    first = start("sys.stdin.read()")
    directory = terminals_dir()
    assert directory.stat().st_mode & 0o777 == 0o700
    for file in directory.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
    first.line.end()
