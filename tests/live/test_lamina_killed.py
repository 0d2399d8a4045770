"""SIGKILL of lamina while programs run in its terminals: all run on, each once, and the next lamina shows them with their screens."""

import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lamina.core.attach.procfs import read_stat
from lamina.core.errors import TargetError
from lamina.tui.terminal.attachment import Gone, Taken, UpToDate
from lamina.tui.terminal.emulator import Emulator, saved_size
from lamina.tui.terminal.follower import Follower
from lamina.tui.terminal.holders import HeldTerminal, attach, held_terminals, terminals_dir
from tests.live.harness import PATIENCE_S, VICTIMS, Reaper, alive, end_holders, full, lamina, need, reap_orphans, wait_gone
from tests.tui.terminal import Terminal, terminal

TIMES = full(200, 3)
STARTS = full(60, 2)
RESTORES = full(30, 1)
STARTED_SIZE = 80, 20
# Starts or puts back, as the screen does, and can be killed on the way.
STARTER = f"""
import sys
from lamina.tui.terminal.leader import start
start(sys.argv[1:], {STARTED_SIZE})
print("runs", flush=True)
sys.stdin.read()
"""
RESTORER = """
import sys
from pathlib import Path
from lamina.core.events import CancelToken
from lamina.core.restore.request import RestoreRequest
from lamina.tui.terminal.kept import read_screen
from lamina.tui.terminal.leader import put_back
layer = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
request = RestoreRequest(layer, shell_job=True, replace=True, rescue=False)
put_back(request, "screens", read_screen(layer), (80, 20), lambda _event: None, CancelToken(), lambda _held: None)
print("runs", flush=True)
sys.stdin.read()
"""
# lamina itself, which notes in a file what it tells holders of the size of its window: before it is told and, so that it is certain, after.
NOTED = struct.Struct("=?iQHH")
NOTING = """
import os, runpy, sys
from tests.live.test_lamina_killed import NOTED
from lamina.tui.terminal import attachment, holder
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
sent = attachment.Attachment._sent
def noting(line, message, fds):
    if message[:1] != b"Z":
        return sent(line, message, fds)
    change = line.holder, *holder.PLACE.unpack(message[1:9]), *holder.WINDOW.unpack(message[9:])
    os.write(notes, NOTED.pack(False, *change))
    if not sent(line, message, fds):
        return False
    os.write(notes, NOTED.pack(True, *change))
    return True
attachment.Attachment._sent = noting
del sys.argv[1]
runpy.run_module("lamina.tui", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Change:
    """The window had another size from *place* in the output on. Not *certain*: it was killed while it told the holder."""

    certain: bool
    place: int
    columns: int
    lines: int


def changes_noted(notes: Path, holder: int) -> list[Change]:
    """What that lamina told that holder, in order."""
    changes: list[Change] = []
    for certain, of, place, columns, lines in NOTED.iter_unpack(notes.read_bytes() if notes.exists() else b""):
        if of == holder:
            if changes and not changes[-1].certain:
                changes.pop()  # is certain now, or could not be sent then
            changes.append(Change(certain, place, columns, lines))
    return changes


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield
    end_holders()


def until(reached: object, what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (reached() if callable(reached) else reached):
        assert time.monotonic() < deadline, what() if callable(what) else what
        reap_orphans()
        time.sleep(0.01)


class Screens:
    """tests/victims/screens.py, and what its terminal must show."""

    def __init__(self, directory: Path, held: HeldTerminal) -> None:
        self.directory, self.pid, self.holder = directory, held.pid, held.holder
        self.start_time = read_stat(held.pid).start_time
        self.fed, self.shown = 0, Emulator(*STARTED_SIZE, lambda _answer: None).save()

    def pause(self) -> tuple[int, int]:
        """How much it has written, and asked."""
        (self.directory / "paused").unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        until((self.directory / "paused").exists, f"process {self.pid} does not run on")
        written, asked = (self.directory / "paused").read_text().split()
        return int(written), int(asked)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)

    def check(self, changes: Sequence[Change] = ()) -> None:
        """It runs, and the next lamina shows all that it wrote since it began, as if one had looked all the time.

        What it asked its terminal was answered, once each. *changes*: of its window since the last time.
        """
        assert alive(self.pid) and read_stat(self.pid).start_time == self.start_time
        written, asked = self.pause()
        (held,) = [held for held in held_terminals() if held.pid == self.pid]
        assert held.holder == self.holder and held.ended is None
        follower = Follower(attach(held, take=True, blocking=True))
        up_to_date = False
        deadline = time.monotonic() + PATIENCE_S
        while not (up_to_date and follower.line.place >= follower.line.place_now()):
            assert time.monotonic() < deadline
            if follower.line.wait(0.1):
                event = follower.take()
                assert not isinstance(event, Taken | Gone), event
                up_to_date |= isinstance(event, UpToDate)
        assert follower.line.place == written
        log = (self.directory / "written").read_bytes()
        assert len(log) == written
        # Of a change that it was killed in both may be: it came or it did not, for the screen and the program's window alike.
        histories = [changes] if not changes or changes[-1].certain else [changes, changes[:-1]]
        shows = follower.emulator.save(), window_size(self.pid)
        assert shows in [self.replayed(log, history) for history in histories]
        self.fed, self.shown = written, shows[0]
        answers = self.directory / "answers"
        until(lambda: answers.read_bytes().count(b"R") == asked, f"asked {asked} times, {answers.read_bytes().count(b'R')} answers")
        if random.random() < 0.5:
            follower.keep()
        follower.line.close()
        self.go_on()

    def replayed(self, log: bytes, changes: Sequence[Change]) -> tuple[str, tuple[int, int]]:
        """What a terminal shows whose window changed like that, and the size of the window."""
        emulator, at = Emulator(*saved_size(self.shown), lambda _answer: None), self.fed
        emulator.load(self.shown)
        for change in changes:
            assert at <= change.place <= len(log)
            emulator.feed(log[at : change.place])
            emulator.resize(change.columns, change.lines)
            at = change.place
        emulator.feed(log[at:])
        return emulator.save(), emulator.size


def window_size(pid: int) -> tuple[int, int]:
    """Columns and lines of the terminal that is the standard input of *pid*, as the kernel knows them."""
    terminal = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        lines, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
        return columns, lines
    finally:
        os.close(terminal)


def started(command: list[str]) -> list[HeldTerminal]:
    """What is held since *command* was started by a lamina that was killed then."""
    before = {held.key for held in held_terminals()}
    starter = subprocess.Popen([sys.executable, "-c", STARTER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdin and starter.stdout and starter.stdout.readline() == b"runs\n"
    starter.kill()
    starter.wait()
    starter.stdin.close()
    starter.stdout.close()
    return [held for held in held_terminals() if held.key not in before]


def start_screens(directory: Path, seed: int) -> Screens:
    directory.mkdir()
    (held,) = started([sys.executable, str(VICTIMS / "screens.py"), str(seed), str(directory)])
    until((directory / "answers").exists, "it does not begin")  # and would end by the signals that it blocks then
    return Screens(directory, held)


def laminas(screen: Terminal) -> list[int]:
    """lamina in that terminal."""
    shell = int(screen.ask("#{pane_pid}"))
    return [pid for pid in (shell, *screen.children(shell)) if b"\0--stack\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_all_run_on_and_are_shown(reaper: Reaper, tmp_path: Path, tally: Counter[str]) -> None:
    need("tmux")
    dice = random.Random(11)
    programs = [start_screens(tmp_path / str(seed), seed) for seed in range(full(3, 2))]
    for program in programs * 2:
        program.check()  # the lamina that started it was killed
    for number in range(TIMES):
        chosen = dice.choice(programs)
        attaches = [["attach", chosen.pid], ["attach", chosen.pid], []]
        notes = tmp_path / f"notes-{number}"
        words = ["--stack", tmp_path / "stack", *dice.choice(attaches)]
        command = [sys.executable, "-c", NOTING, str(notes), *map(str, words)]
        with terminal(tmp_path / f"tmux-{number}", command, 80, 24) as screen:
            until(lambda screen=screen: laminas(screen), "lamina does not start")
            (pid,) = laminas(screen)
            # The moment is what is random: at its start, while it catches up, while it shows and the window changes, while it dumps.
            moment = dice.choice(["start", "start", "catching up", "shows", "shows", "shows"])
            if moment == "catching up":
                until(lambda pid=pid: any(held.lamina == pid for held in held_terminals()), "lamina does not show a terminal")
            elif moment == "shows":
                until(lambda notes=notes: notes.exists() and notes.stat().st_size, "lamina says no size")
                if dice.random() < 0.5:
                    screen.resize(dice.randrange(60, 120), dice.randrange(16, 40))
                if dice.random() < 0.5:
                    screen.press("C-g", "d")
            time.sleep(dice.uniform(0, dice.choice([0.1, 0.5, 1.2])))
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid)
        for program in programs:
            changes = changes_noted(notes, program.holder)
            program.check(changes)
            tally["changes of a window replayed"] += len(changes)
            tally["screens after SIGKILL"] += 1
        tally["SIGKILLs of lamina"] += 1


def test_a_start_that_was_cut_short_did_not_begin_or_can_be_reached(tmp_path: Path, reaper: Reaper, tally: Counter[str]) -> None:
    dice = random.Random(5)
    for number in range(STARTS):
        mark = f"mark-{number}"
        command = [sys.executable, "-c", STARTER, "sh", "-c", "read x; exit 3", mark]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL if dice.random() < 0.1 else subprocess.PIPE, stdout=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.1, 0.7))
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()
        # Whatever was on its way comes to its end: a holder that runs a program, or none.
        until(partial(settled, mark), lambda: f"{unheld(mark)} in no terminal")  # noqa: B023
        for held in held_terminals():
            line = attach(held, blocking=True)
            line.type(b"\n")
            tally["programs reached"] += 1
            until(lambda: not alive(held.pid), f"{held.pid} does not read")  # noqa: B023
            line.seen()
        until(lambda: not held_terminals(), "a holder stays")
        until(lambda: not files(), lambda: f"files stay: {files()}")
        tally["starts cut short"] += 1


def files() -> list[str]:
    """Of holders, sorted."""
    return sorted(os.listdir(terminals_dir()))


def settled(mark: str) -> bool:
    return all(held.pid or held.ended is not None for held in held_terminals()) and not unheld(mark)


def unheld(mark: str) -> list[int]:
    """Programs with *mark* that no holder knows."""
    held = {it.pid for it in held_terminals()}
    found = []
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sh") and mark.encode() in words and alive(pid) and pid not in held:
            found.append(pid)
    return found


def test_a_restore_that_was_cut_short_can_be_reached(tmp_path: Path, reaper: Reaper, tally: Counter[str]) -> None:
    (held,) = started(["cat"])
    layer = tmp_path / "S" / "1"
    layer.mkdir(parents=True)
    lamina("dump", "-t", held.pid, "-D", layer, "-R", "-j")
    dice = random.Random(3)
    for number in range(RESTORES):
        process = subprocess.Popen([sys.executable, "-c", RESTORER, layer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin and process.stdout and process.stdout.readline() == b"ready\n"
        process.stdin.write(b"go\n")
        process.stdin.flush()
        time.sleep(dice.uniform(0, 1.2))
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        # The leader goes on without lamina: in the end the program runs in one terminal, the old or the new.
        until(partial(runs_in_one, held.pid), f"{held.pid} is lost: {held_terminals()}")
        follower = Follower(attach(next(it for it in held_terminals() if it.ended is None), blocking=True))
        follower.line.type(b"word %d\n" % number)
        word = f"word {number}\nword {number}\n"
        deadline = time.monotonic() + PATIENCE_S
        while word not in "\n".join(line.rstrip() for line in follower.emulator.text.splitlines()):
            assert time.monotonic() < deadline, follower.emulator.text
            if follower.line.wait(0.1):
                assert not isinstance(follower.take(), Gone | Taken)
        follower.line.close()
        tally["restores cut short"] += 1


def runs_in_one(pid: int) -> bool:
    """Whether *pid* runs in one terminal, and nothing is on its way to another; what ended is looked at, so that it goes."""
    held = held_terminals()
    for it in held:
        if it.ended is not None:
            with suppress(TargetError):  # gone since
                attach(it, blocking=True).seen()
    return [it.pid for it in held if it.ended is None] == [pid] and alive(pid)
