"""Writes that go past the page tables: no page of a layer may be older than the freeze, whoever writes it and however.

Each layer is compared with a copy of the memory that is taken inside the freeze. Under `make live` the counts go on where an earlier run of
the same engine stopped (build/live/pinned-pages.json).
"""

import hashlib
import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from lamina.core.attach.grace import Grace
from lamina.core.attach.procfs import PAGE, Area
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.runs import PageRuns
from lamina.core.dirty.tracker import Report
from lamina.core.dirty.uffd_wp import UffdTracker
from lamina.core.dump import live
from lamina.core.dump.request import DumpRequest, DumpResult
from lamina.core.dump.session import dump
from lamina.core.image.layer import Layer
from lamina.core.inspect.layer_memory import open_layer_memory
from tests.live.harness import FULL, ROOT, Reaper, Victim, full, start_c

MIB = 64
CHAIN = 4
# Kind, threads, and rest between two writes, up to so many ms: what is written over again before the freeze hides that it was lost. Without
# a grace period the first five lost pages in 7, 4, 7, 6 and 6 of 16 dumps on a quiet machine (tests/native/test_pinned.py shows it on any).
LOSING = (("direct", 1, 5), ("direct", 4, 60), ("direct-file", 1, 5), ("vm-self", 4, 0), ("vm-sibling", 2, 0))
OTHERS = (("buffered", 2, 5), ("pipe", 1, 0), ("vmsplice", 1, 0), ("user", 4, 0))
DUMPS = {**dict.fromkeys(LOSING, full(2000, 4)), **dict.fromkeys(OTHERS, full(2000, 2))}
KEPT = ROOT / "build/live/pinned-pages.json"


class AsOfFreeze:
    """The companion of a dump that copies a range of the target while it stands still."""

    def __init__(self, pid: int, start: int, size: int) -> None:
        self._pid, self._runs, self._buffer = pid, PageRuns.of([(start, start + size)]), WarmBuffer(size)

    def frozen(self) -> None:
        assert not copy_runs(self._pid, self._runs, self._buffer)

    def files(self) -> Mapping[str, bytes]:
        return {}

    @property
    def bytes(self) -> memoryview:
        return self._buffer.view


class Writers:
    """The victim, and chains of dumps of it that are compared with what was there."""

    def __init__(self, victim: Victim, stacks: Path) -> None:
        self._victim, self._stacks, self._dice = victim, stacks, random.Random(victim.pid)
        where = victim.ask()
        self._start, self._size = where["memory"], where["size"]
        self._reference = AsOfFreeze(victim.pid, self._start, self._size)
        self._held = WarmBuffer(self._size)
        self._parent: Path | None = None
        self._made = 0

    def longest_wait_s(self) -> float:
        """Of the kind "wait"."""
        return float(self._victim.ask("waits")["longest"]) / 1e9

    def dump(self, **options: Any) -> tuple[DumpResult, int]:
        """One more layer of a chain of four, at a random moment; the pages that are wrong in it."""
        if self._made % CHAIN == 0:
            self._parent = None
        layer = self._stacks / f"{self._made // CHAIN}-{self._made % CHAIN}"
        layer.mkdir()
        time.sleep(self._dice.uniform(0, 0.03))  # the moment is what is random: nothing is awaited here
        prev = None if self._parent is None else f"../{self._parent.name}"
        result = dump(DumpRequest(self._victim.pid, layer, prev, True, True, companion=self._reference, **options))
        with open_layer_memory(Layer(layer), self._victim.pid) as memory:
            memory.read_into(self._held.view, self._start)
        held, there = (np.frombuffer(buffer, np.uint64).reshape(-1, PAGE // 8) for buffer in (self._held.view, self._reference.bytes))
        wrong = (held != there).any(axis=1)
        self._parent, self._made = layer, self._made + 1
        if self._made % CHAIN == 0:
            for made in self._stacks.iterdir():
                subprocess.run(["rm", "-r", "--one-file-system", made], check=True)
        return result, int(wrong.sum())


@contextmanager
def writers(reaper: Reaper, tmp_path: Path, kind: str, threads: int, pause: int) -> Iterator[Writers]:
    """Writers of that kind, on a file of a real disk; layers lie in memory."""
    source = ROOT / "build/live/blocks"
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        draft = source.with_name(f"blocks.{os.getpid()}")
        draft.write_bytes(random.Random(0).randbytes(MIB << 20))
        draft.rename(source)
    victim = start_c(reaper, tmp_path / "victim", "writers", kind, MIB, threads, pause, source)
    with TemporaryDirectory(prefix="lamina-writers-", dir="/dev/shm") as stacks:
        yield Writers(victim, Path(stacks))


def engine() -> str:
    """What the kept counts are of: the files that a dump is made by."""
    digest = hashlib.sha256()
    for room in ("core/attach", "core/dirty", "core/dump", "native"):
        for path in sorted((ROOT / room).rglob("*.[pch]*")):
            if path.suffix in {".py", ".c", ".h"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def kept_counts() -> dict[str, int]:
    if not FULL or not KEPT.exists():
        return {}
    kept = json.loads(KEPT.read_text())
    return dict(kept["done"]) if kept["engine"] == engine() else {}


@pytest.mark.parametrize(("kind", "threads", "pause"), DUMPS, ids=str)
def test_no_page_is_older_than_the_freeze(kind: str, threads: int, pause: int, reaper: Reaper, tmp_path: Path, tally: Counter[str]) -> None:
    name, live_dumps = f"{kind} x {threads}", 0
    done = kept_counts()
    with writers(reaper, tmp_path, kind, threads, pause) as made:
        for number in range(done.get(name, 0), DUMPS[kind, threads, pause]):
            result, wrong = made.dump()
            assert not wrong, f"dump {number}: {wrong} pages are older than the freeze"
            live_dumps += result.live_rounds > 0
            tally[f"dumps beside a writer: {name}"] += 1
            if FULL and number % 100 == 99:
                KEPT.parent.mkdir(parents=True, exist_ok=True)
                KEPT.write_text(json.dumps({"engine": engine(), "done": kept_counts() | {name: number + 1}}))
        assert live_dumps or name in done, "there was no live round: nothing was shown"


def test_what_a_late_thread_leaves_in_doubt_is_copied_again(reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a thread never came out of its call: no copy of a live round is trusted."""
    monkeypatch.setattr(live, "grace_period", lambda *_: Grace(1, 0, 1, 4711, "pread64"))
    with writers(reaper, tmp_path, "direct", 1, 5) as made:
        for _ in range(full(200, 4)):
            result, wrong = made.dump()
            assert not wrong
            assert result.live_rounds <= 1
            if result.live_rounds:
                assert any("thread 4711 does not come back from the kernel in pread64" in notice for notice in result.notices)


def test_paranoid_names_and_mends_what_nobody_reported(reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writers(reaper, tmp_path, "user", 2, 0) as made:
        result, wrong = made.dump(paranoid=True)
        assert not wrong
        assert any("pages were compared inside the freeze, and are equal" in notice for notice in result.notices)

        # A tracker that says of nothing in the freeze that it was written: without --paranoid old pages are taken for new.
        protect = UffdTracker.protect

        def lie(tracker: UffdTracker, areas: Iterable[Area], live: bool) -> Report:
            report = protect(tracker, areas, live)
            return report if live else replace(report, changed=PageRuns.empty())

        monkeypatch.setattr(UffdTracker, "protect", lie)
        assert made.dump()[1]
        result, wrong = made.dump(paranoid=True)
        assert not wrong
        told = next(notice for notice in result.notices if "differed from what the layer would have held" in notice)
        assert f"process {result.pids[0]}, " in told and "pages of anonymous memory" in told and len(told) < 2000


def test_a_wait_with_a_timeout_begins_anew_at_most_once(reaper: Reaper, tmp_path: Path) -> None:
    """By the freeze: neither arming nor live rounds stop a thread that sleeps so. It waits for half a second at a time."""
    for number in range(full(20, 2)):
        with writers(reaper, tmp_path / str(number), "wait", 3, 0) as made:
            result, wrong = made.dump()
            assert not wrong and result.live_rounds >= 2
            assert made.longest_wait_s() < 2 * 0.5 + 0.2
