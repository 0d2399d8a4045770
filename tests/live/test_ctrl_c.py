"""Ctrl-C at any moment ends any verb at once: what it worked on runs on or is whole, and nothing of lamina is left."""

import os
import random
import select
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import sweep
from lamina.core.verify import check_chain
from tests.live.harness import (
    FULL,
    PATIENCE_S,
    Layers,
    Reaper,
    Victim,
    alive,
    dump,
    full,
    lamina,
    lamina_command,
    start_c,
    states_of,
    tree_of,
    wait_gone,
)

TIMES = full(20, 1)
MIB = full(300, 24)
# How long it may take; a loaded machine has other reasons to be late.
LIMIT_S = 2 if FULL else PATIENCE_S
INVENTORY = "inventory.img"
GOES_ON = b"this goes on until it runs again"


class Case:
    """A program, two layers of it, and verbs that are interrupted."""

    def __init__(self, reaper: Reaper, layers: Layers, directory: Path, tally: Counter[str]) -> None:
        self.layers, self.tally, self.dice = layers, tally, random.Random(12)
        self.others = set(tree_of(os.getpid()))  # of tests before this one
        self.victim: Victim = start_c(reaper, directory, "cells", MIB)
        self.victim.ask(f"write {MIB << 7} 1")
        self.first = layers.new()
        dump(self.victim, self.first)
        self.victim.ask(f"write {MIB << 5} 2")
        self.second = layers.new()
        dump(self.victim, self.second, parent=self.first)
        self._took: dict[str, float] = {}
        self._hit: Counter[str] = Counter()

    def repeat(self, act: Callable[[], None], *names: str) -> None:
        """*act* until each of *names* was interrupted `TIMES` times; with small counts once, whatever came first."""
        for _ in range(8 * TIMES if FULL else 1):
            act()
            if all(self._hit[name] >= TIMES for name in names):
                return
        assert not FULL, self._hit

    def wait_some(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Until some moment of *process*, which runs verb *name*, or its end. The moments are spread over the time that it takes."""
        part = (self._hit[name] % TIMES + self.dice.random()) / TIMES
        began = time.monotonic()
        # How long it takes is not known before it was seen once.
        with suppress(subprocess.TimeoutExpired):
            process.wait(part * self._took[name] if name in self._took else PATIENCE_S if FULL else self.dice.uniform(0.2, 1.1))
        if process.poll() is not None:
            self._took[name] = min(time.monotonic() - began, self._took.get(name, PATIENCE_S))

    def interrupt(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Ctrl-C, unless *process* has ended; then it ends in time."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            _heed(process, name)
            self.hit(name)

    def hit(self, name: str) -> None:
        """A verb was interrupted."""
        self._hit[name] += 1
        self.tally[f"SIGINT of lamina {name}"] += 1

    def interrupted(self, name: str, *words: object) -> None:
        """Run lamina with *words*, and Ctrl-C at some moment. It ends in time, or says in time that it goes on, and why."""
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(lamina_command(*words), stdin=quiet, stdout=quiet, stderr=subprocess.PIPE)
        assert process.stderr
        self.wait_some(name, process)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            said = _heed(process, name)
            self.hit(name)
        else:
            said = b""
        said += process.stderr.read()
        process.wait(PATIENCE_S)
        process.stderr.close()
        # Before lamina's first line the interpreter has Ctrl-C to itself.
        assert b"Traceback" not in said or b"init_import_site" in said or process.returncode == -signal.SIGINT, said
        self.nothing_of_ours()

    def nothing_of_ours(self) -> None:
        """All that is below us, who adopt orphans, is the program."""
        deadline = time.monotonic() + LIMIT_S
        while strangers := [pid for pid in tree_of(os.getpid()) if alive(pid) and pid not in {*self.others, *tree_of(self.victim.pid)}]:
            assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in strangers]
            time.sleep(0.01)

    def runs(self) -> None:
        assert self.victim.ask()["wrong"] == 0
        assert not states_of(self.victim.pid) & {"t", "T"}

    def whole_or_nothing(self, layer: Path, pages: Path | None = None) -> None:
        """No half layer. *pages*: where its pages were sent."""
        if (layer / INVENTORY).exists():
            if pages:
                shutil.copytree(layer, pages, dirs_exist_ok=True)
            assert not check_chain(Layer(pages or layer), contents=True)
        else:
            assert not layer.exists() or os.listdir(layer) == []


class Stopwatch:
    """How long a process takes from now on, with those below it, s: but for what it waits for a processor, which tells of the machine."""

    def __init__(self, pid: int) -> None:
        self._pid, self._began = pid, time.monotonic()
        self._waited: dict[tuple[int, int], int] = {}
        self._before = dict(self._look())

    def _look(self) -> Iterator[tuple[tuple[int, int], int]]:
        """(pid, tid) → ns that it was ready to run and did not (Documentation/scheduler/sched-stats.rst)."""
        for pid in tree_of(self._pid):
            with suppress(OSError):
                for tid in os.listdir(f"/proc/{pid}/task"):
                    yield (pid, int(tid)), int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[1])

    @property
    def seconds(self) -> float:
        """As far as it is known: what ended since the last look has waited some more."""
        self._waited.update({key: ns - self._before.get(key, 0) for key, ns in self._look()})
        longest: Counter[int] = Counter()
        for (pid, _), ns in self._waited.items():
            longest[pid] = max(longest[pid], ns)
        return time.monotonic() - self._began - sum(longest.values()) / 1e9


def _heed(process: subprocess.Popen[bytes], what: str) -> bytes:
    """What *process*, which was asked to stop, says until it ends, or until it says that it goes on: either in time."""
    watch, said = Stopwatch(process.pid), b""
    while GOES_ON not in said and process.poll() is None:
        if process.stderr is None:
            time.sleep(0.02)
        elif select.select([process.stderr], [], [], 0.02)[0]:
            said += os.read(process.stderr.fileno(), 1 << 16)
        assert watch.seconds < LIMIT_S, f"{what} goes on and does not say so: {said!r}"
    return said


@pytest.fixture
def case(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> Case:
    return Case(reaper, layers, tmp_path / "victim", tally)


def test_restore(case: Case) -> None:
    def act() -> None:
        case.victim.end()
        case.victim.put_back(case.second)
        case.interrupted("restore", "restore", "-D", case.second, "-d")
        if not alive(case.victim.pid):
            assert not Path(f"/proc/{case.victim.pid}").exists() or states_of(case.victim.pid) == {"Z"}, "half of it is left"
            wait_gone(case.victim.pid)
            lamina("restore", "-D", case.second, "-d")
        case.runs()

    case.repeat(act, "restore")


class Parent:
    """We as the parent of a program that ends: it reaps when it is told of the end, unless it is *late*."""

    def __init__(self, pid: int) -> None:
        self._pid, self.late = pid, False

    def __enter__(self) -> "Parent":
        self._before = signal.signal(signal.SIGCHLD, lambda *_: None if self.late else self.reap())
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGCHLD, self._before)

    def reap(self) -> None:
        with suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)


def test_restore_in_place(case: Case) -> None:
    """`--replace`: something of it always runs, as it was or as of the layer; a rescue layer is whole or not there."""
    with Parent(case.victim.pid):

        def act() -> None:
            (case.victim.dir / "ask").unlink(missing_ok=True)
            case.interrupted("restore --replace", "restore", "-D", case.second, "-d", "--replace")
            case.runs()
            for rescue in case.layers.path.glob("rescue-*"):
                case.whole_or_nothing(rescue)
                shutil.rmtree(rescue)

        case.repeat(act, "restore --replace")


@pytest.mark.parametrize("rescue", [True, False], ids=["rescue", "no rescue"])
def test_restore_in_place_goes_on_once_the_old_program_has_ended(case: Case, rescue: bool) -> None:
    """Each Ctrl-C is answered, and the program runs in the end."""
    words = lamina_command("restore", "-D", case.second, "-d", "--replace", *([] if rescue else ["--no-rescue"]))
    quiet = subprocess.DEVNULL
    with Parent(case.victim.pid) as parent:
        for count in (1, 3):
            parent.late = True  # so that it is still on its way when it is told
            (case.victim.dir / "ask").unlink(missing_ok=True)
            process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE)
            assert process.stderr
            ended = os.pidfd_open(case.victim.pid)
            assert select.select([ended], [], [], PATIENCE_S)[0]
            os.close(ended)
            said = b""
            for _ in range(count):
                process.send_signal(signal.SIGINT)
                more = _heed(process, "restore --replace")
                assert GOES_ON in more
                said += more
            parent.late = False
            parent.reap()
            said += process.stderr.read()
            process.stderr.close()
            assert process.wait(PATIENCE_S) == 0, said
            assert said.count(GOES_ON) == count
            assert (b"what ran is kept in" in said) == rescue
            case.nothing_of_ours()
            case.runs()


def test_looking_thinning_and_tracking(case: Case, tmp_path: Path) -> None:
    def act() -> None:
        case.interrupted("verify", "verify", case.layers.path)
        shutil.copytree(case.layers.path, tmp_path / "copy", symlinks=True)  # there is something to free every time
        case.interrupted("dedup", "dedup", "-D", tmp_path / "copy/2")
        assert not check_chain(Layer(tmp_path / "copy/2"), contents=True)
        shutil.rmtree(tmp_path / "copy")
        for words in (("check",), ("check", "--stop"), ("untrack",), ("track",)):
            case.interrupted(" ".join(words), *words, "-t", case.victim.pid)
            case.runs()

    case.repeat(act, "verify", "dedup", "check", "check --stop", "untrack", "track")
    lamina("untrack", "-t", case.victim.pid)
    assert not any("userfaultfd" in os.readlink(f"/proc/{case.victim.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{case.victim.pid}/fd"))


def test_a_page_server_and_who_sends_to_it(case: Case, tmp_path: Path) -> None:
    """Whoever is interrupted: no layer on one side only, and the program runs on."""

    def act() -> None:
        layer = case.layers.new()
        there = tmp_path / "there" / layer.name
        there.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        quiet = subprocess.DEVNULL
        reading, writing = os.pipe()
        words = lamina_command("page-server", "-D", there, "--port", port, "--status-fd", writing)
        server = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=[writing])
        os.close(writing)
        assert os.read(reading, 1) == b"\0"
        os.close(reading)
        to_server = ("dump", "-t", case.victim.pid, "-D", layer, "-R", "--page-server", "--port", port)
        sender = subprocess.Popen(lamina_command(*to_server), stdin=quiet, stdout=quiet, stderr=quiet)
        name, who = case.dice.choice([("page-server", server), ("dump --page-server", sender)])
        case.wait_some(name, who)
        case.interrupt(name, who)
        sender.wait(PATIENCE_S)
        if server.poll() is None:
            server.send_signal(signal.SIGINT)  # nobody came
        server.wait(PATIENCE_S)
        case.runs()
        case.nothing_of_ours()
        sweep(layer)  # as the next command does: who was not told whether it arrived leaves that open
        assert (layer / INVENTORY).exists() == (there / INVENTORY).exists()
        case.whole_or_nothing(layer, there)
        shutil.rmtree(there)

    case.repeat(act, "page-server", "dump --page-server")
