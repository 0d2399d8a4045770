"""Dumps by this checkout beside dumps by another one, in pairs. Run by `make bench ARGS="--against DIR"`.

DIR is a checkout in which `make build` was run. Each build has a program of its own, alike, and a place of its own for what it remembers.
They dump in turn, so that what the machine does meanwhile is the same for both. A ratio is that of a pair, and the median of all pairs
is what counts; below 1 this checkout is better.

    total   wall time of the whole command
    frozen  `freezing_time` and `frozen_time` of the statistics
    still   all that the target stood still from the first to the last moment of the command, as one of its threads felt it
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benches.programs import launch
from tests.live.harness import Reaper, Victim

ACTS = ("full", "changed")
FIGURES = ("total", "frozen", "still")


@dataclass(frozen=True)
class Pair:
    """One act of both builds; ms by figure."""

    ours: dict[str, float]
    theirs: dict[str, float]

    def ratio(self, figure: str) -> float:
        return self.ours[figure] / max(self.theirs[figure], 1e-3)


@dataclass(frozen=True)
class PairedRow:
    """All pairs of one act."""

    mib: int
    act: str
    pairs: tuple[Pair, ...]

    def text(self) -> str:
        cells = []
        for figure in FIGURES:
            ours, theirs = (statistics.median(getattr(pair, side)[figure] for pair in self.pairs) for side in ("ours", "theirs"))
            ratio = statistics.median(pair.ratio(figure) for pair in self.pairs)
            cells.append(f"{ours:>9.1f}{theirs:>9.1f}{ratio:>7.2f}")
        return f"{self.mib:>5} {self.act:<8}" + "".join(cells)


class Side:
    """One build with its program."""

    def __init__(self, command: list[str], victim: Victim, where: Path) -> None:
        self._command, self.victim, self._where = command, victim, where
        self._env = os.environ | {"LAMINA_STATE_DIR": str(where / "remembered")}
        self._made = 0

    def lamina(self, *words: object) -> dict[str, dict[str, float]]:
        done = subprocess.run(
            [*self._command, *map(str, words), "--json"],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            sys.exit(f"{' '.join(self._command)} {' '.join(map(str, words))}: {done.stderr}")
        return dict(json.loads(done.stdout))

    def dump(self, *options: object) -> dict[str, float]:
        """One more layer, and what it cost."""
        self._made += 1
        layer = self._where / str(self._made)
        layer.mkdir()
        self.victim.ask("watch")
        began = time.perf_counter()
        stats = self.lamina("dump", "-t", self.victim.pid, "-D", layer, "-R", *options)["stats"]
        total = (time.perf_counter() - began) * 1e3
        still = self.victim.ask("gap")["gaps"] / 1e6
        return {"total": total, "frozen": (stats["freezing_time"] + stats["frozen_time"]) / 1e3, "still": still}

    def forget(self) -> None:
        """The newest layer goes, on which none stands: many full ones of a large program do not fit into memory."""
        shutil.rmtree(self._where / str(self._made))

    def last(self) -> str:
        """The newest layer, for --prev-images-dir."""
        return f"../{self._made}"

    def tidy(self) -> None:
        """No layers, no tracking."""
        self.lamina("untrack", "-t", self.victim.pid)
        for layer in self._where.glob("[0-9]*"):
            shutil.rmtree(layer)


def paired(reaper: Reaper, scratch: Path, other: Path, mib: int, times: int, changed: float) -> list[PairedRow]:
    """*times* pairs of full dumps and of increments with a share of *changed* pages, of a program of *mib* MiB.

    One pair more is made first, and not counted.
    """
    theirs = other / ".venv/bin/lamina"
    if not theirs.exists():
        sys.exit(f"{other} is no built checkout: run `make build` there")
    sides = [
        Side([str(command)], launch(reaper, scratch / f"{name}-victim-{mib}", mib), _made(scratch / f"{name}-{mib}"))
        for name, command in (("ours", Path(sys.executable).with_name("lamina")), ("theirs", theirs))
    ]
    rows = []
    for act in ACTS:
        pairs = []
        if act == "changed":
            for side in sides:
                side.dump("--track-mem")
        for number in range(times + 1):
            figures = {}
            # Who begins changes, as the second one finds other caches.
            for index in (0, 1) if number % 2 else (1, 0):
                side = sides[index]
                if act == "changed":
                    side.victim.ask(f"write {int((mib << 8) * changed)} {number + 1}")
                    figures[index] = side.dump("--track-mem", "--prev-images-dir", side.last())
                else:
                    figures[index] = side.dump()
                    side.forget()
            pairs.append(Pair(figures[0], figures[1]))
        for side in sides:
            side.tidy()
        rows.append(PairedRow(mib, act, tuple(pairs[1:])))
        print(rows[-1].text(), flush=True)
    for side in sides:
        side.victim.end()
        shutil.rmtree(side.victim.dir)
    return rows


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def head() -> str:
    """The line above the rows."""
    return f"{'MiB':>5} {'act':<8}" + "".join(f"{figure:>9}{'theirs':>9}{'ratio':>7}" for figure in FIGURES)
