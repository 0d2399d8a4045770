"""What dumps, restores and the verbs over stacks cost, as ratios to what this machine can do in the same minute, and to criu if one works.

Run by `make bench`. Images lie on tmpfs. Every figure is the median of several runs with the best beside it, in ms:

    total   wall time of the whole command, the start of Python included
    work    what lamina itself took (`elapsed_us`), without the start of Python
    frozen  `frozen_time` of the statistics
    gap     the freeze as the target feels it: the largest gap between two stamps of one of its threads

    limit   for a dump: reading that much of another process and writing it to tmpfs, warm; for a restore: filling that much fresh memory

What is measured of stacks is said in stack_bench.py, of the screen in screen_bench.py, of dumps to a page server in page_server_bench.py,
of dumps beside another checkout's in against.py.
"""

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benches import against, page_server_bench, screen_bench, shared_bench, stack_bench  # noqa: E402
from benches.programs import launch  # noqa: E402
from lamina.core.attach.procfs import read_maps  # noqa: E402
from tests.live.harness import Reaper, Victim, lamina, reaping, wait_gone  # noqa: E402

CHANGED = 0.05  # share of pages written between two layers
CHUNK = 4 << 20


@dataclass(frozen=True)
class Run:
    """One command, measured; ms."""

    total: float
    work: float = 0.0
    frozen: float = 0.0
    gap: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    mib: int
    act: str
    engine: str
    runs: tuple[Run, ...]
    limit_ms: float

    def median(self, field: str) -> float:
        return float(statistics.median(getattr(run, field) for run in self.runs))

    def best(self, field: str) -> float:
        return float(min(getattr(run, field) for run in self.runs))


def ms_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e3


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def copy_limit_ms(victim: Victim, nbytes: int, where: Path) -> float:
    """The least time in which *nbytes* of *victim* can be read and written to tmpfs: best of five, warm."""
    libc = ctypes.CDLL(None, use_errno=True)
    low = next(area.start for area in read_maps(victim.pid) if not area.path and area.size >= nbytes)
    buffer = ctypes.create_string_buffer(CHUNK)
    view = memoryview(buffer)

    def once() -> None:
        fd = os.open(where / "limit", os.O_CREAT | os.O_WRONLY)
        for at in range(0, nbytes, CHUNK):
            here, there = _Iovec(ctypes.addressof(buffer), CHUNK), _Iovec(low + at, CHUNK)
            if libc.process_vm_readv(victim.pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) != CHUNK:
                raise OSError(ctypes.get_errno(), "process_vm_readv")
            os.write(fd, view)
        os.close(fd)

    best = min(ms_of(once) for _ in range(5))
    (where / "limit").unlink()
    return best


class Bench:
    """The acts of one size, for lamina and for criu."""

    def __init__(self, reaper: Reaper, scratch: Path, mib: int, times: int) -> None:
        self.scratch, self.mib, self.times = scratch, mib, times
        self.victim = launch(reaper, scratch / f"victim-{mib}", mib)
        self.pages = mib << 8
        self.limits = [self.victim.ask("limits", patience=120) for _ in range(3)]
        self.copy = copy_limit_ms(self.victim, mib << 20, scratch)
        self.fill = min(each["fresh"] for each in self.limits) / 1e6
        self.number = 0

    def layer(self) -> Path:
        self.number += 1
        path = self.scratch / str(self.number)
        path.mkdir()
        return path

    def watched(self, *words: object) -> Run:
        self.victim.ask("watch")
        began = time.perf_counter()
        answer = lamina(*words).json
        total = (time.perf_counter() - began) * 1e3
        gap = self.victim.ask("gap")["gap"] / 1e6
        return Run(total, answer["elapsed_us"] / 1e3, answer["stats"]["frozen_time"] / 1e3, gap)

    def full(self) -> list[Run]:
        runs = []
        for _ in range(self.times + 1):
            layer = self.layer()
            runs.append(self.watched("dump", "-t", self.victim.pid, "-D", layer, "-R", "--json"))
            shutil.rmtree(layer)
        return runs[1:]  # the first one pays for memory that the host has not given yet

    def incremental(self) -> list[Run]:
        parent = self.layer()
        lamina("dump", "-t", self.victim.pid, "-D", parent, "-R", "--track-mem")
        runs = []
        for number in range(self.times + 1):
            self.victim.ask(f"write {int(self.pages * CHANGED)} {number + 1}")
            layer = self.layer()
            on = ("--prev-images-dir", f"../{parent.name}")
            runs.append(self.watched("dump", "-t", self.victim.pid, "-D", layer, "-R", "--track-mem", *on, "--json"))
            parent = layer
        lamina("untrack", "-t", self.victim.pid)
        for layer in self.scratch.glob("[0-9]*"):
            shutil.rmtree(layer)
        return runs[1:]

    def restore(self) -> list[Run]:
        layer = self.layer()
        state = self.victim.ask()
        lamina("dump", "-t", self.victim.pid, "-D", layer)
        wait_gone(self.victim.pid)
        runs = []
        for _ in range(self.times + 1):
            self.victim.end()
            began = time.perf_counter()
            answer = lamina("restore", "-D", layer, "-d", "--json").json
            runs.append(Run((time.perf_counter() - began) * 1e3, answer["elapsed_us"] / 1e3))
            assert self.victim.ask() == state
        shutil.rmtree(layer)
        lamina("untrack", "-t", self.victim.pid)
        return runs[1:]

    def criu(self, *words: object) -> bool:
        done = subprocess.run(["criu", *(str(word) for word in words)], capture_output=True, text=True, check=False)
        self.criu_said = (done.stdout + done.stderr).strip().splitlines()[-1:] or [""]
        return done.returncode == 0

    def criu_rows(self) -> list[Row]:
        dumps, restores = [], []
        for _ in range(self.times + 1):
            layer = self.layer()
            self.victim.ask("watch")
            began = time.perf_counter()
            if not self.criu("dump", "-t", self.victim.pid, "-D", layer, "-R"):
                print(f"criu does not work here: {self.criu_said[0]}", file=sys.stderr)
                return []
            total = (time.perf_counter() - began) * 1e3
            dumps.append(Run(total, total, 0.0, self.victim.ask("gap")["gap"] / 1e6))
            self.victim.end()
            began = time.perf_counter()
            if not self.criu("restore", "-D", layer, "-d"):
                print(f"criu does not restore: {self.criu_said[0]}", file=sys.stderr)
                return []
            total = (time.perf_counter() - began) * 1e3
            restores.append(Run(total, total))
            shutil.rmtree(layer)
        return [
            Row(self.mib, "full dump", "criu", tuple(dumps[1:]), self.copy),
            Row(self.mib, "restore", "criu", tuple(restores[1:]), self.fill),
        ]

    def rows(self) -> list[Row]:
        found = [
            Row(self.mib, "full dump", "lamina", tuple(self.full()), self.copy),
            Row(self.mib, f"{CHANGED:.0%} changed", "lamina", tuple(self.incremental()), self.copy * CHANGED),
            Row(self.mib, "restore", "lamina", tuple(self.restore()), self.fill),
        ]
        return found + (self.criu_rows() if shutil.which("criu") else [])


def report(rows: list[Row]) -> str:
    head = f"{'MiB':>5} {'act':<12} {'by':<7}" + "".join(f"{name:>9}" for name in ("total", "work", "best", "frozen", "gap", "limit"))
    lines = [head + "  work/limit  total/criu's"]
    criu = {(row.mib, row.act): row for row in rows if row.engine == "criu"}
    for row in rows:
        rival = criu.get((row.mib, row.act))
        against = f"{row.median('total') / rival.median('total'):>12.2f}" if rival and rival is not row else ""
        figures = [row.median("total"), row.median("work"), row.best("work"), row.median("frozen"), row.median("gap"), row.limit_ms]
        share = row.median("work") / row.limit_ms
        columns = "".join(f"{each:>9.1f}" for each in figures)
        lines.append(f"{row.mib:>5} {row.act:<12} {row.engine:<7}{columns}{share:>12.2f}{against}")
    return "\n".join(lines)


def run_against(options: argparse.Namespace, scratch: Path) -> None:
    """`--against DIR`."""
    print(against.head())
    rows = []
    for mib in options.mib:
        with reaping() as reaper:
            rows += against.paired(reaper, scratch, options.against.resolve(), mib, options.times, CHANGED)
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--stack-mib", type=int, default=256, help="the full layer of the stack; 0 leaves the verbs over stacks out")
    parser.add_argument("--where", type=Path, default=ROOT / "build", help="whose disk the stack lies on")
    parser.add_argument("--screen-mib", type=int, default=4096, help="the program dumped while keys are pressed; 0 leaves the screen out")
    parser.add_argument("--send-mib", type=int, default=1024, help="the program sent to a page server; 0 leaves that out")
    parser.add_argument("--only-send", action="store_true", help="the page server alone")
    parser.add_argument("--shared-mib", type=int, default=1024, help="memory shared by five tasks; 0 leaves that out")
    parser.add_argument("--only-shared", action="store_true", help="shared memory alone")
    parser.add_argument("--only-screen", action="store_true", help="leave all the others out")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json")
    parser.add_argument("--against", type=Path, metavar="DIR", help="dumps only, in pairs with those by the built checkout DIR")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the bench needs root")
    if options.only_screen:
        options.mib, options.stack_mib, options.send_mib, options.shared_mib = [], 0, 0, 0
    if options.only_send:
        options.mib, options.stack_mib, options.screen_mib, options.shared_mib = [], 0, 0, 0
    if options.only_shared:
        options.mib, options.stack_mib, options.screen_mib, options.send_mib = [], 0, 0, 0
    scratch = Path(tempfile.mkdtemp(prefix="lamina-bench-", dir="/dev/shm"))
    rows: list[Row] = []
    try:
        if options.against:
            run_against(options, scratch)
            return
        for mib in options.mib:
            with reaping() as reaper:
                rows += Bench(reaper, scratch, mib, options.times).rows()
        send_rows: list[page_server_bench.SendRow] = []
        if options.send_mib:
            with reaping() as reaper:
                said, send_rows = page_server_bench.run(reaper, scratch, options.send_mib, options.times)
            print(said, end="\n\n")
        shared_rows: list[shared_bench.SharedRow] = []
        if options.shared_mib:
            with reaping() as reaper:
                said, shared_rows = shared_bench.run(reaper, scratch, options.shared_mib, options.times)
            print(said, end="\n\n")
    finally:
        shutil.rmtree(scratch)
    if rows:
        print(report(rows), end="\n\n")
    text, stack_rows = stack_bench.run(options.where, options.stack_mib, min(3, options.times)) if options.stack_mib else ("", [])
    print(text)
    screen_rows = screen_bench.run(options.screen_mib) if options.screen_mib else []
    options.json.parent.mkdir(exist_ok=True)
    measured = [*map(asdict, rows), *map(asdict, send_rows), *map(asdict, shared_rows), *map(asdict, stack_rows), *map(asdict, screen_rows)]
    options.json.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
