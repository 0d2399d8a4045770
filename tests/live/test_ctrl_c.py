"""Ctrl-C at any moment ends any verb at once: what it worked on runs on or is whole, and nothing of lamina is left."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
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
    tree_of,
    wait_gone,
)

TIMES = full(20, 1)
MIB = full(300, 24)
# How long it may take; a loaded machine has other reasons to be late.
LIMIT_S = 2 if FULL else PATIENCE_S
INVENTORY = "inventory.img"


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
        self.took: dict[str, float] = {}

    def interrupted(self, name: str, *words: object) -> int:
        """Run lamina with *words*, and Ctrl-C at some moment; returns its status. The first time it may end: so long it takes."""
        quiet = subprocess.DEVNULL
        began = time.monotonic()
        process = subprocess.Popen(lamina_command(*words), stdin=quiet, stdout=quiet, stderr=subprocess.PIPE)
        assert process.stderr
        if FULL and name not in self.took:
            process.wait(PATIENCE_S * 4)
            self.took[name] = time.monotonic() - began
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.dice.uniform(0.2, 1.1) * self.took.get(name, 1.0))  # the moment is what is random
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                asked = time.monotonic()
                process.wait(PATIENCE_S)
                assert time.monotonic() - asked < LIMIT_S, f"{name} went on for {time.monotonic() - asked:.1f} s"
                self.tally[f"SIGINT of lamina {name}"] += 1
        said = process.stderr.read().decode()
        process.stderr.close()
        assert "Traceback" not in said or process.returncode == -signal.SIGINT, said
        self.nothing_of_ours()
        return process.returncode

    def nothing_of_ours(self) -> None:
        """All that is below us, who adopt orphans, is the program."""
        deadline = time.monotonic() + LIMIT_S
        while strangers := [pid for pid in tree_of(os.getpid()) if alive(pid) and pid not in {*self.others, *tree_of(self.victim.pid)}]:
            assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in strangers]
            time.sleep(0.01)

    def runs(self) -> None:
        assert self.victim.ask()["wrong"] == 0
        assert all(letter not in "tT" for letter in states(self.victim.pid))

    def whole_or_nothing(self, layer: Path) -> None:
        """No half layer."""
        if (layer / INVENTORY).exists():
            assert not check_chain(Layer(layer), contents=True)
        else:
            assert not layer.exists() or os.listdir(layer) == []


def states(pid: int) -> str:
    """State letters of its threads."""
    found = [Path(f"/proc/{pid}/task/{tid}/stat").read_text() for tid in os.listdir(f"/proc/{pid}/task")]
    return "".join(it.rpartition(")")[2].split()[0] for it in found)


@pytest.fixture
def case(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> Case:
    return Case(reaper, layers, tmp_path / "victim", tally)


def times(act: Callable[[], None]) -> None:
    for _ in range(TIMES + FULL):
        act()


def test_restore(case: Case) -> None:
    def act() -> None:
        case.victim.end()
        case.victim.put_back(case.second)
        case.interrupted("restore", "restore", "-D", case.second, "-d")
        if not alive(case.victim.pid):
            assert not Path(f"/proc/{case.victim.pid}").exists() or states(case.victim.pid) == "Z", "half of it is left"
            wait_gone(case.victim.pid)
            lamina("restore", "-D", case.second, "-d")
        case.runs()

    times(act)


def test_restore_in_place(case: Case) -> None:
    """`--replace`: something of it always runs, as it was or as of the layer; a rescue layer is whole or not there."""

    def reap(_number: int, _frame: object) -> None:
        with suppress(ChildProcessError):
            os.waitpid(case.victim.pid, os.WNOHANG)

    before = signal.signal(signal.SIGCHLD, reap)  # a parent that reaps
    try:

        def act() -> None:
            (case.victim.dir / "ask").unlink(missing_ok=True)
            case.interrupted("restore --replace", "restore", "-D", case.second, "-d", "--replace")
            case.runs()
            for rescue in case.layers.path.glob("rescue-*"):
                case.whole_or_nothing(rescue)

        times(act)
    finally:
        signal.signal(signal.SIGCHLD, before)


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

    times(act)
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
        took = case.took.setdefault("page-server", 4.0 if FULL else 1.5)
        with suppress(subprocess.TimeoutExpired):
            server.wait(case.dice.uniform(0, took))
        who = case.dice.choice([server, sender])
        if who.poll() is None:
            who.send_signal(signal.SIGINT)
            who.wait(LIMIT_S)
            case.tally[f"SIGINT of {'page-server' if who is server else 'dump --page-server'}"] += 1
        sender.wait(PATIENCE_S)
        if server.poll() is None:
            server.send_signal(signal.SIGINT)  # nobody came
        server.wait(PATIENCE_S)
        case.runs()
        case.nothing_of_ours()
        if not (layer / INVENTORY).exists():
            assert os.listdir(layer) == []

    times(act)
