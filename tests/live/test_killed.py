"""SIGKILL of lamina at random moments: the target is sacred, and no layer is half there."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, alive, dump, full, lamina, lamina_command, reap_orphans, restore, tree_of, wait_gone
from tests.live.programs import Cells, Program, Worker
from tests.live.trace import observe

TIMES = full(100, 5)
KINDS: tuple[type[Program], ...] = (Cells, Worker)


def by_name(kind: type[Program]) -> str:
    return kind.__name__


def kill_within(low: float, high: float, dice: random.Random, *args: object) -> int:
    """Start lamina, kill it after a random time between *low* and *high* s, return its exit status (-9 if the kill came in time)."""
    process = subprocess.Popen(
        lamina_command(*args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        # The moment is what is random: nothing is awaited here.
        return process.wait(timeout=dice.uniform(low, high))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.wait()


def startup_s() -> float:
    """How long lamina takes until it begins to work: nothing can go wrong before."""
    began = time.monotonic()
    lamina("check", "-t", os.getpid(), ok=False)
    return time.monotonic() - began


def timed(program: Program, layers: Layers, parent: Path | None) -> tuple[Path, float]:
    """A dump that nobody disturbs, and its time."""
    layer = layers.new()
    before, began = program.victim.ask(), time.monotonic()
    dump(program.victim, layer, parent=parent)
    took = time.monotonic() - began
    program.states[layer] = (before, program.victim.ask())
    return layer, took


@pytest.mark.parametrize("incremental", [False, True], ids=["full", "incremental"])
@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_dump_that_leaves_it_running(
    kind: type[Program], incremental: bool, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]
) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    pid = program.victim.pid
    untouched = {each: observe(each) for each in tree_of(pid)}
    whole, took = timed(program, layers, None)
    if incremental:
        program.move_on()
        whole, took = timed(program, layers, whole)
    dice, idle = random.Random(2 + incremental), startup_s() * 0.5
    for _ in range(TIMES):
        program.move_on()
        layer = layers.new()
        # ids: the parent stays the last whole layer, whatever happened to those between.
        parent = ("--prev-images-dir", os.path.relpath(whole, layer)) if incremental else ()
        status = kill_within(idle, took * 1.1, dice, "dump", "-t", pid, "-D", layer, "-R", "--track-mem", *parent)
        if status == -signal.SIGKILL:
            tally[f"lamina killed in a {'n incremental' if incremental else ' full'} dump: {kind.name}".replace("a n", "an")] += 1
        assert alive(pid)
        program.move_on()
        whole, _ = timed(program, layers, whole if incremental else None)
        assert not (layer / "inventory.img").exists() or status == 0 or lamina("show", layer / "inventory.img").status == 0
    lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
    assert {each: observe(each) for each in tree_of(pid)} == untouched, "lamina left a trace"
    program.victim.hold()
    restore(program.victim, whole)
    program.same_as(whole, program.victim.ask())


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_last_dump(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    pid = program.victim.pid
    _, took = timed(program, layers, None)
    lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
    dice, idle = random.Random(4), startup_s() * 0.5
    for _ in range(TIMES):
        program.victim.go()
        before = program.move_on()
        untouched = {each: observe(each) for each in tree_of(pid)}
        layer = layers.new()
        status = kill_within(idle, took * 1.1, dice, "dump", "-t", pid, "-D", layer)
        tally[f"lamina killed in a last dump: {kind.name}"] += status == -signal.SIGKILL
        committed = (layer / "inventory.img").exists()
        tree = [each for each in untouched if alive(each)]
        assert tree == list(untouched) or committed, "part of the tree is gone, and there is no layer"
        if tree == list(untouched):
            program.move_on()
            lamina("untrack", "-t", pid, ok=False)  # the next command, whatever there is to undo
            assert {each: observe(each) for each in tree_of(pid)} == untouched, "lamina left a trace"
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
    dice, idle = random.Random(5), startup_s() * 0.5
    for _ in range(TIMES):
        program.victim.end()
        program.victim.put_back(layer)
        program.victim.hold()
        status = kill_within(idle, took * 1.1, dice, "restore", "-d", "-D", layer)
        tally[f"lamina killed in a restore: {kind.name}"] += status == -signal.SIGKILL
        left = [each for each in tree if alive(each)]
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
