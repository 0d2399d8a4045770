"""What a user feels of the screen: from a key to what it changes on a real terminal, and from `lamina` to the first rows.

A key is a byte written into the pseudo terminal of a real `lamina`. It is answered when the emulated screen shows what it changes: the app,
its drawing, the terminal and the emulation are all in the figure. After each key a plain program on the same kind of terminal is asked,
which answers with one line at once: what the machine itself takes at that moment, with all that goes on.

    p50, p95, max   ms over all keys
    limit           p95 of the plain answer; for the start, of Python importing textual and doing nothing
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.many_processes import many_processes
from benches.programs import launch
from benches.pty_screen import LINES, PtyScreen
from tests.live.harness import reaping
from tests.made_stack import Shape, make_stack

PAUSE_S = 0.08
LAMINA = (sys.executable, "-m", "lamina.tui")
BUSY = "c cancel"
# Answers a key with a line of another colour each time.
_PLAIN = r"""
import os, tty
tty.setraw(0)
os.write(1, b"ready")
at = 0
while os.read(0, 1) not in (b"", b"\x03"):
    at += 1
    os.write(1, b"\x1b[5;1H\x1b[48;5;%dm%-100d\x1b[m" % (20 + at % 2, at))
"""
_ROW = re.compile(r"^[│\s]*(\d+)[▾▸\s]", re.MULTILINE)


@dataclass(frozen=True)
class Latency:
    """One line of the report, ms."""

    act: str
    times: tuple[float, ...]
    limits: tuple[float, ...]

    def text(self) -> str:
        p50, p95, limit = _percentile(self.times, 50), _percentile(self.times, 95), _percentile(self.limits, 95)
        columns = "".join(f"{each:>8.1f}" for each in (p50, p95, max(self.times), limit))
        return f"{self.act:<36}{len(self.times):>6}{columns}{p95 / limit:>11.1f}"


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


@dataclass(frozen=True)
class Desk:
    """The screen of lamina, and beside it the one that answers plainly."""

    screen: PtyScreen
    plain: PtyScreen


class Keys:
    """Keys of one kind, pressed one after the other."""

    def __init__(self, act: str, seen: Callable[[PtyScreen], Any]) -> None:
        """*seen*: what of the screen a key changes."""
        self._act, self._seen = act, seen
        self._times: list[float] = []
        self._limits: list[float] = []

    def __len__(self) -> int:
        return len(self._times)

    def press(self, desk: Desk, *keys: bytes) -> None:
        """Press each of *keys*, with a plain answer and a rest after each."""
        for key in keys:
            self._times.append(desk.screen.latency_ms(key, self._seen))
            self._limits.append(desk.plain.latency_ms(b"x", lambda screen: screen.line(4)))
            desk.screen.rest(PAUSE_S)

    def row(self) -> Latency:
        return Latency(self._act, tuple(self._times), tuple(self._limits))


def under_bar(screen: PtyScreen) -> str:
    """The row under the bar of the list on the left: the line whose background is another than that of most."""
    grounds = screen.grounds(4, 3, LINES - 3)
    usual = statistics.mode(grounds)
    return next((screen.line(3 + at)[:60] for at, ground in enumerate(grounds) if ground != usual), "")


def finds(pattern: str) -> Callable[[PtyScreen], str]:
    """A look for the first of what *pattern* describes."""
    compiled = re.compile(pattern)

    def look(screen: PtyScreen) -> str:
        match = compiled.search(screen.text)
        return match[0] if match else ""

    return look


def has_rows(screen: PtyScreen) -> bool:
    """Whether processes are shown."""
    return len(_ROW.findall(screen.text)) >= 5


class Walk:
    """What a user does while something goes on: up and down the list of processes, along the map, from screen to screen."""

    def __init__(self, when: str) -> None:
        self._lists = Keys(f"{when}: list", under_bar)
        self._maps = Keys(f"{when}: map", finds(r"[0-9a-f]{5,16}(?=[^0-9a-f].*╯)"))
        self._screens = Keys(f"{when}: next screen", finds(r"lamina · \w+"))

    def rows(self) -> list[Latency]:
        return [self._lists.row(), self._maps.row(), self._screens.row()]

    def on_target(self, desk: Desk, goes_on: Callable[[], bool]) -> None:
        """From the target's screen and back there, until *goes_on* says no."""
        while goes_on():
            self._maps.press(desk, *(b"\x1b[C", b"\x1b[D") * 3)
            self._screens.press(desk, b"1")
            self._lists.press(desk, *(b"j", b"k") * 3)
            self._screens.press(desk, b"2")


class ScreenBench:
    """All that is measured of the screen; *where*: a directory in memory for programs, stacks and what lamina remembers."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self._env = {"LAMINA_STATE_DIR": f"{where}/remembered", "XDG_STATE_HOME": f"{where}/state", "XDG_CONFIG_HOME": f"{where}/config"}

    def lamina(self, *options: object) -> PtyScreen:
        return PtyScreen([*LAMINA, *options], self._env)

    @contextmanager
    def desk(self, *options: object, shows: Callable[[PtyScreen], object] = has_rows) -> Iterator[Desk]:
        """lamina with *options*, once it *shows* its first screen."""
        with self.lamina(*options) as screen, PtyScreen([sys.executable, "-c", _PLAIN], self._env) as plain:
            plain.wait_for("ready")
            screen.wait_for(shows)
            yield Desk(screen, plain)

    def start(self, times: int) -> Latency:
        """From the start of the command to the first rows of processes."""
        starts, limits = [], []
        for _ in range(times + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
            limits.append((time.perf_counter() - began) * 1e3)
            with self.lamina() as screen:
                starts.append((screen.wait_for(has_rows) - screen.began) * 1e3)
        return Latency("start to the first rows", tuple(starts[1:]), tuple(limits[1:]))

    def stack(self, layers: int, runs: int) -> list[Latency]:
        """The cursor goes through a stack of 10 GiB in *layers* layers, from the newest to the first."""
        place = self._where / "stack"
        make_stack(place, Shape(layers=layers, runs=runs))
        cursor, detail = Keys(f"{layers} layers: cursor", under_bar), Keys(f"{layers} layers: detail", finds(r"─ layer \d+"))
        strip = Keys(f"{layers} layers: map as of the layer", finds(r"as of layer \d+"))
        with self.desk("--stack", place, shows=finds(f"as of layer {layers - 1}")) as desk:
            for keys in (cursor, detail, strip):
                keys.press(desk, *[b"j"] * (layers // 3 - 1))
                desk.screen.rest(0.5)
        shutil.rmtree(place)
        return [cursor.row(), detail.row(), strip.row()]

    def dumps(self, mib: int, times: int) -> list[Latency]:
        """Keys while a program of *mib* MiB is dumped by the same lamina: in full, then *times* layers of a quarter of it."""
        shots = self._where / "shots"
        idle, full, more = Walk("nothing goes on"), Walk(f"{mib} MiB are dumped"), Walk("a quarter is dumped")
        with reaping() as reaper:
            victim = launch(reaper, self._where / "victim", mib)
            with self.desk("--stack", shots) as desk:
                screen = desk.screen
                screen.type(b"/%d" % victim.pid)
                screen.wait_for(f"1 hit for /{victim.pid}")
                # Enter ends the filter, the next one makes the process the target.
                screen.type(b"\r")
                screen.rest(0.5)
                screen.type(b"\r")
                screen.wait_for(f"target · bench_victim {victim.pid}")
                screen.type(b"1")
                screen.wait_for("1 hit for")
                screen.type(b"\x1b")
                screen.wait_for(lambda screen: "hit for" not in screen.text)
                screen.rest(0.5)
                screen.type(b"2")
                screen.wait_for("lamina · target")
                screen.rest(1)
                rounds = iter(range(3))
                idle.on_target(desk, lambda: next(rounds, None) is not None)
                for number in range(times + 1):
                    screen.type(b"d")
                    screen.wait_for(BUSY)
                    (more if number else full).on_target(desk, lambda: BUSY in screen.text)
                    victim.ask(f"write {mib << 6} {number + 1}", patience=300)
        shutil.rmtree(shots)
        return [*idle.rows(), *full.rows(), *more.rows()]


def run(mib: int, times: int = 5) -> list[Latency]:
    """Measure, and print each line as soon as it is known. *mib*: of the program that is dumped."""
    print(f"{'key to paint, ms':<36}{'keys':>6}{'p50':>8}{'p95':>8}{'max':>8}{'limit':>8}  p95/limit")
    where = Path(tempfile.mkdtemp(prefix="lamina-bench-", dir="/dev/shm"))
    try:
        bench = ScreenBench(where)
        rows = _said([bench.start(times)])
        rows += _said(bench.stack(100, 200_000))
        rows += _said(many_processes(bench))
        return rows + _said(bench.dumps(mib, times))
    finally:
        shutil.rmtree(where)


def _said(rows: list[Latency]) -> list[Latency]:
    print("\n".join(row.text() for row in rows), flush=True)
    return rows
