"""SIGKILL of lamina at random moments: the target is sacred, and no layer is half there."""

import os
import random
import select
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import FULL, Layers, Reaper, alive, dump, full, lamina, lamina_command, reap_orphans, restore, tree_of, wait_gone
from tests.live.programs import Cells, Program, SharedMemory, SocketPairs, Worker
from tests.live.trace import differences, observe_tree

# For each kind of command.
TIMES: dict[type[Program], int] = {Cells: full(50, 5), Worker: full(50, 5), SharedMemory: full(50, 2), SocketPairs: full(200, 1)}
KINDS = tuple(TIMES)


def by_name(kind: type[Program]) -> str:
    return kind.__name__


class Killer:
    """Kills lamina after a random time, between the moment it begins to work and the moment it would be done."""

    def __init__(self, seed: int, took: float) -> None:
        self._dice = random.Random(seed)
        began = time.monotonic()
        lamina("check", "-t", os.getpid(), ok=False)
        self._low = (time.monotonic() - began) * 0.6
        self._high = max(took, self._low * 1.2)

    def run(self, *args: object) -> bool:
        """Start lamina and kill it; False if it was faster (then the next time is shorter)."""
        process = subprocess.Popen(lamina_command(*args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The moment is what is random: nothing is awaited here.
            status = process.wait(timeout=self._dice.uniform(self._low, self._high))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        assert status == 0, f"lamina {args}: {status}"
        self._high = max(self._high * 0.93, self._low * 1.2)
        return False


def survivors(tree: list[int]) -> list[int]:
    """Those of *tree* that live on. What dies with its tracer has been sent its SIGKILL by now, and only needs a processor."""
    living = []
    for pid in tree:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if not select.select([pidfd], [], [], 0.5)[0]:
            living.append(pid)
        os.close(pidfd)
    return living


def timed(program: Program, layers: Layers, parent: Path | None) -> tuple[Path, float]:
    """A dump that nobody disturbs, and its time."""
    layer = layers.new()
    before, began = program.victim.ask(), time.monotonic()
    dump(program.victim, layer, parent=parent)
    took = time.monotonic() - began
    program.states[layer] = (before, program.victim.ask())
    return layer, took


@pytest.mark.parametrize("incremental", [False, True], ids=["full", "incremental"])
# The last dump of socket pairs is killed in `make test`; these are as many again, and slow.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if FULL or kind is not SocketPairs], ids=by_name)
def test_dump_that_leaves_it_running(
    kind: type[Program], incremental: bool, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]
) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    pid = program.victim.pid
    program.move_on()
    untouched = observe_tree(tree_of(pid))
    whole, took = timed(program, layers, None)
    if incremental:
        program.move_on()
        whole, took = timed(program, layers, whole)
    killer = Killer(2 + incremental, took)
    for _ in range(TIMES[kind]):
        program.move_on()
        layer = layers.new()
        # ids: the parent stays the last whole layer, whatever happened to those between.
        parent = ("--prev-images-dir", os.path.relpath(whole, layer)) if incremental else ()
        killed = killer.run("dump", "-t", pid, "-D", layer, "-R", "--track-mem", *parent)
        if killed:
            tally[f"lamina killed in {'an incremental' if incremental else 'a full'} dump: {kind.name}"] += 1
        assert alive(pid)
        program.move_on()
        whole, _ = timed(program, layers, whole if incremental else None)
        assert not (layer / "inventory.img").exists() or lamina("show", layer).status == 0
    lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
    assert not differences(untouched, observe_tree(tree_of(pid)))
    program.victim.hold()
    restore(program.victim, whole)
    program.same_as(whole, program.victim.ask())


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_last_dump(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    pid = program.victim.pid
    _, took = timed(program, layers, None)
    lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
    killer = Killer(4, took)
    for _ in range(TIMES[kind]):
        program.victim.go()
        before = program.move_on()
        untouched = observe_tree(tree_of(pid))
        layer = layers.new()
        tally[f"lamina killed in a last dump: {kind.name}"] += killer.run("dump", "-t", pid, "-D", layer)
        committed = (layer / "inventory.img").exists()
        tree = [each for each in untouched if alive(each)]
        assert tree == list(untouched) or committed, "part of the tree is gone, and there is no layer"
        if tree == list(untouched):
            program.move_on()
            lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
            assert not differences(untouched, observe_tree(tree_of(pid)))
        else:
            program.victim.end()
            for each in untouched:
                wait_gone(each)
            program.victim.keep_files(layer)
            program.states[layer] = (before, None)
            program.victim.hold()
            restore(program.victim, layer)
            program.same_as(layer, program.victim.ask())
            lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_restore(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    pid = program.victim.pid
    first, _ = timed(program, layers, None)
    program.move_on()
    layer, _ = timed(program, layers, first)
    tree = tree_of(pid)
    began = time.monotonic()
    restore(program.victim, layer)
    took = time.monotonic() - began
    killer = Killer(5, took)
    for _ in range(TIMES[kind]):
        program.victim.end()
        program.victim.put_back(layer)
        program.victim.hold()
        tally[f"lamina killed in a restore: {kind.name}"] += killer.run("restore", "-d", "-D", layer)
        left = survivors(tree)
        if left:
            assert left == tree, "part of the tree runs"
            program.same_as(layer, program.victim.ask())
        else:
            reap_orphans()
            for each in tree:
                wait_gone(each)
    restore(program.victim, layer)
    program.same_as(layer, program.victim.ask())
    program.victim.go()
    program.move_on()
    branch, _ = timed(program, layers, layer)
    restore(program.victim, branch)
    program.move_on()
