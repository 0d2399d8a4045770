"""What is done with stacks, as MB/s beside the disk's own in the same minute. Run by bench.py.

A stack of one full layer and three with 2 % of its pages, scattered, lies on the file system of the project. Every act begins with its
files out of the page cache, and on a fresh copy if it changes something. `MiB` is what it has to go through; `limit` is the time in which
this disk read the same amount of the same files right before, writes that much and punches as many holes, with nothing else to do.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benches.stack_maker import PID, make_data_stack
from lamina.core.dirty.runs import PageRuns
from lamina.core.image.holes import punch
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.inspect.layer_memory import open_layer_memory
from lamina.core.inspect.patterns import hex_pattern
from lamina.core.inspect.search import search
from lamina.core.rewrite.dedup import dedup, plan_dedup
from lamina.core.rewrite.lossless import apply_lossless, plan_lossless
from lamina.core.rewrite.plan import apply
from lamina.core.rewrite.squash import plan_squash
from lamina.core.verify import verify_layer

LAYERS, CHANGED, SAME = 4, 0.02, 0.25
TOP = str(LAYERS - 1)
CHUNK = 1 << 20
# Eight bytes that the noise does not hold.
NEEDLE = hex_pattern("00 01 02 03 04 05 06 07")


@dataclass(frozen=True)
class StackRow:
    """One line of the report.

    Attributes:
        act: what was done; engine: by whom.
        nbytes: what it has to go through.
        ms: each time.
        limit_ms: the least it could take; 0 if it reads no contents.
    """

    act: str
    engine: str
    nbytes: int
    ms: tuple[float, ...]
    limit_ms: float


@dataclass(frozen=True)
class Disk:
    """What the file system itself does, in bytes a second, and seconds for a hole."""

    read: float
    cached: float
    write: float
    punch: float


class StackBench:
    """The acts on one stack."""

    def __init__(self, where: Path, mib: int, times: int) -> None:
        self.where, self.mib, self.times = where, mib, times
        self.master, self.copy = where / "master", where / "copy"
        self.layers = make_data_stack(self.master, mib, LAYERS, CHANGED, SAME)
        self.sizes = [layer.pages_path(PID).stat().st_size for layer in self.layers]
        self.disk = self._measure()

    def _measure(self) -> Disk:
        full, scratch = self.layers[0].pages_path(PID), self.where / "scratch"
        cold = min(from_disk(full) for _ in range(3))
        warm = min(seconds(lambda: read(full)) for _ in range(3))
        data = full.read_bytes()
        write = min(seconds(lambda: written(scratch, data)) for _ in range(3))
        ranges = plan_dedup(Layer(self.master / TOP)).cuts[-1].ranges
        with scratch.open("r+b") as file:
            holes = seconds(lambda: punched(file.fileno(), ranges))
        scratch.unlink()
        size = self.sizes[0]
        return Disk(size / cold, size / warm, size / write, holes / len(ranges))

    def row(
        self,
        act: str,
        run: Callable[[Path], object],
        reads: int,
        writes: int = 0,
        holes: int = 0,
        changes: bool = False,
        by: str = "lamina",
    ) -> StackRow:
        """One act, each time right after the disk was asked to read the same files: its speed is another every second."""
        times, limits = [], []
        for _ in range(self.times):
            stack = self.master
            if changes:
                stack = self.copy
                shutil.rmtree(stack, ignore_errors=True)
                subprocess.run(["cp", "-a", "--reflink=never", self.master, stack], check=True)
            if reads:
                speed = sum(self.sizes) / sum(from_disk(path) for path in stack.glob("*/pages-1.img"))
                limits.append((reads / speed + writes / self.disk.write + holes * self.disk.punch) * 1e3)
            forget(*stack.rglob("*.img"))
            times.append(seconds(partial(run, stack)) * 1e3)
        return StackRow(act, by, reads + writes, tuple(times), statistics.median(limits or [0]))

    def rows(self) -> list[StackRow]:
        """Everything, measured."""
        every, own = sum(self.sizes), self.sizes[-1]
        merged = resolve(self.layers[-1].chain()[:-1], PID).runs.bytes
        thin = plan_lossless(self.master)
        rest = sum(it.own_pages - it.pages for it in thin.layers if it.pages) * 4096
        holes = sum(len(cut.ranges) for cut in plan_dedup(Layer(self.master / TOP)).cuts)
        changing = sum(self.sizes[1:])
        found = [
            self.row("owner map", lambda stack: resolve(Layer(stack / TOP).chain(), PID), 0),
            self.row("verify --fast", lambda stack: whole(stack, False), 0),
            self.row("verify", lambda stack: whole(stack, True), every),
            self.row("search", searched, self.mib << 20),
            self.row("dedup", lambda stack: dedup(Layer(stack / TOP)), every, holes=holes, changes=True),
            self.row("dedup --lossless", apply_lossless, 2 * changing, rest, changes=True),
            self.row("  its dry run", plan_lossless, every + 2 * changing),
            self.row("squash 1..3", lambda stack: apply(plan_squash(Layer(stack / "1"), Layer(stack / TOP))), merged, merged, changes=True),
        ]
        if shutil.which("criu"):
            found += self._criu(every - own, holes)
        return found

    def _criu(self, nbytes: int, holes: int) -> list[StackRow]:
        done = subprocess.run(["criu", "dedup", "-D", self.master / "0"], capture_output=True, text=True, check=False)
        said = (done.stdout + done.stderr).strip().splitlines()
        if not any("previous snapshot" in line for line in said):  # what a criu that starts says of a layer without a parent
            print(f"criu does not work here: {said[-1] if said else 'it says nothing'}", file=sys.stderr)
            return []
        return [self.row("dedup", criu_dedup, nbytes, holes=holes, changes=True, by="criu")]


def criu_dedup(stack: Path) -> None:
    subprocess.run(["criu", "dedup", "-D", stack / TOP], check=True, capture_output=True)


def whole(stack: Path, contents: bool) -> None:
    assert verify_layer(Layer(stack / TOP), contents=contents).whole


def searched(stack: Path) -> None:
    with open_layer_memory(Layer(stack / TOP), PID) as memory:
        assert search([memory], NEEDLE, count_only=True).complete


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def forget(*paths: Path) -> None:
    """Out of the page cache with them."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read(path: Path) -> None:
    buffer = bytearray(CHUNK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def from_disk(path: Path) -> float:
    forget(path)
    return seconds(lambda: read(path))


def written(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def punched(fd: int, ranges: PageRuns) -> None:
    punch(fd, ranges)
    os.fsync(fd)


def run(where: Path, mib: int, times: int) -> tuple[str, list[StackRow]]:
    """All of it in a directory of its own under *where*; the report and its rows."""
    where.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="lamina-bench-", dir=where))
    try:
        bench = StackBench(scratch, mib, times)
        rows = bench.rows()
        return report(bench, rows), rows
    finally:
        shutil.rmtree(scratch)


def report(bench: StackBench, rows: list[StackRow]) -> str:
    disk = bench.disk
    lines = [
        f"a stack of {bench.mib} MiB and {LAYERS - 1} times {CHANGED:.0%} of it; this disk reads {disk.read / 1e6:,.0f} MB/s "
        f"({disk.cached / 1e6:,.0f} cached), writes {disk.write / 1e6:,.0f} MB/s, punches a hole in {disk.punch * 1e6:,.0f} µs",
        f"{'act':<18} {'by':<7}" + "".join(f"{name:>9}" for name in ("MiB", "ms", "best", "MB/s", "limit")) + "    x limit",
    ]
    for row in rows:
        middle = statistics.median(row.ms)
        line = f"{row.act:<18} {row.engine:<7}{row.nbytes / (1 << 20):>9.0f}{middle:>9.1f}{min(row.ms):>9.1f}"
        if row.limit_ms:
            line += f"{row.nbytes / middle / 1e3:>9.0f}{row.limit_ms:>9.1f}{middle / row.limit_ms:>11.2f}"
        lines.append(line)
    return "\n".join(lines)
