"""Why there are grace periods: pages that a thread has pinned while they are protected are written later, and nothing reports it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lamina.core.attach.calls import Inside
from lamina.core.attach.grace import grace_period
from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import Area, read_maps, threads_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty.choice import probe
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.uffd_wp import UffdTracker
from tests.live.harness import ROOT, Reaper, Victim, need_root, reaping, start_c

pytestmark = pytest.mark.skipif(not probe().available, reason=f"no {probe().name}: {probe().reason}")
MIB = 16
PROCESS_VM_WRITEV = "311"


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    """One thread that writes by process_vm_writev, from a file that comes from the disk page by page: its pins are held for long."""
    need_root()
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))
    source = ROOT / f"build/pinned-{tmp_path.name}"
    source.parent.mkdir(exist_ok=True)
    with source.open("wb") as file:
        file.write(np.random.default_rng(1).bytes(MIB << 20) * 3)
        os.fsync(file.fileno())  # what is not on the disk yet stays in memory, whatever the victim asks for
    try:
        with reaping() as reaper:
            yield start_writer(reaper, tmp_path, source)
    finally:
        source.unlink()


def start_writer(reaper: Reaper, tmp_path: Path, source: Path) -> Victim:
    return start_c(reaper, tmp_path / "victim", "writers", "vm-self", MIB, 1, 0, source)


class Round:
    """A live round of one victim, and a freeze that tells what it lost."""

    def __init__(self, victim: Victim, tracker: UffdTracker) -> None:
        where = victim.ask()
        self._pid, self._tracker = victim.pid, tracker
        self._runs = PageRuns.of([(where["memory"], where["memory"] + where["size"])])
        self._copies = [WarmBuffer(where["size"]) for _ in range(2)]
        self._writer = next(tid for tid in threads_of(victim.pid) if tid != victim.pid)

    def lost(self, grace: bool) -> int:
        """Pages that differ from their live copy and are not reported as written since.

        Begins while the writer sleeps in its call: it waits for the disk then, with pages pinned.
        """
        deadline = time.monotonic() + 20
        while Path(f"/proc/{self._pid}/task/{self._writer}/syscall").read_text().split()[0] != PROCESS_VM_WRITEV:
            assert time.monotonic() < deadline, "it never waits for its disk"
        self._tracker.protect(read_maps(self._pid), live=True)
        if grace:
            assert grace_period([self._pid], 10).complete
        copy_runs(self._pid, self._runs, self._copies[0])
        changed = self._in_freeze(self._look)
        old, new = (np.frombuffer(copy.view, np.uint8).reshape(-1, PAGE) for copy in self._copies)
        differs = PageRuns.from_pages(self._runs.starts[0] + np.flatnonzero((old != new).any(axis=1)).astype(np.uint64) * np.uint64(PAGE))
        return int((differs - changed).pages)

    def _look(self, _inside: Inside, areas: list[Area]) -> PageRuns:
        copy_runs(self._pid, self._runs, self._copies[1])
        return self._tracker.protect(areas, live=False).changed

    def _in_freeze(self, act: object) -> PageRuns:
        def work() -> PageRuns:
            with FrozenTree(self._pid) as tree:
                tree.prepare_scratch(tree.processes[0])
                assert callable(act)
                found = act(tree.processes[0].leader, tree.processes[0].areas)
                return found if isinstance(found, PageRuns) else PageRuns.empty()

        return tracer().call(work)

    def arm(self) -> None:
        self._in_freeze(self._tracker.arm)


def test_a_pinned_page_is_lost_without_grace_and_kept_with_it(victim: Victim) -> None:
    with UffdTracker(identify(victim.pid)) as tracker:
        rounds = Round(victim, tracker)
        rounds.arm()
        assert not any(rounds.lost(grace=True) for _ in range(20))
        # Otherwise the above shows nothing.
        assert any(rounds.lost(grace=False) for _ in range(60))
