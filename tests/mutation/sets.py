"""Real image sets to be changed: each of a program that runs nowhere any more, as a last dump leaves it."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.live import harness
from tests.live.harness import Layers, Reaper, Victim, dump, start_c, start_python


@dataclass(frozen=True)
class MadeSet:
    """One set.

    Attributes:
        layer: the directory to be restored.
        shell_job: it is restored into a terminal, which is standard input.
        parent: change the layer that it stands on, not itself.
    """

    layer: Path
    shell_job: bool = False
    parent: bool = False

    @property
    def changed(self) -> Path:
        """The layer that is changed."""
        return self.layer.parent / self.layer.joinpath("parent").readlink().name if self.parent else self.layer


def _c(name: str, *args: object, layers: int = 1) -> Callable[[Reaper, Path], MadeSet]:
    return lambda reaper, work: _dumped(start_c(reaper, work / "victim", name, *args), work, layers)


def _python(name: str) -> Callable[[Reaper, Path], MadeSet]:
    return lambda reaper, work: _dumped(start_python(reaper, work / "victim", name), work)


def _redis(reaper: Reaper, work: Path) -> MadeSet:
    harness.need("redis-server")
    directory = work / "victim"
    directory.mkdir(parents=True)
    words = ["redis-server", "--port", "46379", "--save", "", "--daemonize", "no", "--dir", str(directory)]
    return _dumped_process(reaper, work, words)


def _dumped_process(reaper: Reaper, work: Path, words: list[str]) -> MadeSet:
    """A program that is not asked anything: it is ready when it listens."""
    with open(work / "victim/out", "wb") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    process.returncode = 0
    reaper.watch(process.pid)
    deadline = time.monotonic() + harness.PATIENCE_S
    while b"Ready to accept" not in (work / "victim/out").read_bytes():
        assert time.monotonic() < deadline and harness.alive(process.pid), (work / "victim/out").read_text()
        time.sleep(0.01)
    victim = Victim(process.pid, work / "victim", reaper)
    layer = Layers(work / "S").new()
    dump(victim, layer, last=True)
    return MadeSet(layer)


def _terminal(reaper: Reaper, work: Path) -> MadeSet:
    """Standard streams of the victim are the terminal that our standard input is."""
    directory = work / "victim"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "answer")
    (directory / "out").touch()
    built = harness.build("pair")
    process = subprocess.Popen([str(built), str(directory), "8"], stdin=0, stdout=0, stderr=0, cwd=directory)
    process.returncode = 0
    reaper.watch(process.pid)
    victim = Victim(process.pid, directory, reaper)
    victim.ask()
    layer = Layers(work / "S").new()
    dump(victim, layer, "--shell-job", last=True)
    return MadeSet(layer, shell_job=True)


def _dumped(victim: Victim, work: Path, layers: int = 1) -> MadeSet:
    made = Layers(work / "S")
    parent = None
    for _ in range(layers - 1):
        layer = made.new()
        dump(victim, layer, parent=parent)
        parent = layer
    layer = made.new()
    dump(victim, layer, parent=parent, last=True)
    return MadeSet(layer)


SETS: dict[str, Callable[[Reaper, Path], MadeSet]] = {
    "restorable": _c("restorable"),
    "settings": _c("settings"),
    "signals_timers": _c("signals_timers"),
    "sessions": _c("sessions"),
    "cells, on a parent": _c("cells", 1, layers=2),
    "cells, the parent": lambda reaper, work: replace(_c("cells", 1, layers=2)(reaper, work), parent=True),
    "avx_threads": _c("avx_threads"),
    "waiting_threads": _c("waiting_threads"),
    "terminal": _terminal,
    "python_counter": _python("python_counter"),
    "python_worker": _python("python_worker"),
    "socket pairs": _python("kind_socket_pairs"),
    "redis": _redis,
}
"""Name → makes it."""
