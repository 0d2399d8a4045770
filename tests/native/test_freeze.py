"""Freezing what does not keep still: threads that come and go, signals on their way, targets that end."""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.core.attach.procfs import threads_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.errors import TargetError

VICTIM = Path(__file__).parents[1] / "victims" / "thread_storm.c"


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    binary, counts = tmp_path / "thread_storm", tmp_path / "counts"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, VICTIM, "-lpthread"], check=True)
    process = subprocess.Popen([binary, counts], stdin=subprocess.DEVNULL)
    try:
        while not counts.exists() or counts.stat().st_size < 16 or struct.unpack("2Q", counts.read_bytes()[:16])[1] == 0:
            assert process.poll() is None
        yield process, counts
    finally:
        process.kill()
        process.wait()


def test_a_storm_of_threads_is_frozen_whole_and_goes_on(storm: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, counts = storm

    def freeze() -> tuple[bytes, bytes]:
        with FrozenTree(process.pid) as tree:
            held = [tracee.tid for tracee in tree.processes[0].tracees]
            assert held[0] == process.pid
            assert held == threads_of(process.pid), "a thread was missed"
            tree.prepare_scratch(tree.processes[0])
            first = counts.read_bytes()[:16]
            time.sleep(0.002)  # a moment in which a thread that was missed would show
            return first, counts.read_bytes()[:16]

    for _ in range(100):
        first, second = tracer().call(freeze)
        assert first == second, "something ran inside the freeze"
    threads, signals = struct.unpack("2Q", counts.read_bytes()[:16])
    deadline = time.monotonic() + 10
    while struct.unpack("2Q", counts.read_bytes()[:16])[0] < threads + 1000:
        assert process.poll() is None
        assert time.monotonic() < deadline
    assert struct.unpack("2Q", counts.read_bytes()[:16])[1] > signals, "the timer's signals stopped"


def test_a_tree_is_frozen_parents_before_children_and_zombies_are_known() -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "kids = [subprocess.Popen([sys.executable, '-c', 'import time; print(flush=True); time.sleep(1000)'], stdout=subprocess.PIPE)]\n"
        "kids[0].stdout.readline()\n"
        "dead = os.fork()\n"
        "if not dead: os._exit(3)\n"
        "os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)\n"
        "print(kids[0].pid, dead, flush=True)\n"
        "sys.stdin.read()\n"
        "kids[0].kill()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout
        child, dead = map(int, parent.stdout.readline().split())

        def freeze() -> tuple[list[int], list[int], tuple[int, ...], dict[int, int]]:
            with FrozenTree(parent.pid) as tree:
                return [process.pid for process in tree], tree.zombies, tree.pids, tree.parents

        assert tracer().call(freeze) == ([parent.pid, child], [dead], (parent.pid, child, dead), {child: parent.pid, dead: parent.pid})
    finally:
        parent.communicate()


def test_a_process_that_is_gone_or_held_by_another_tracer_is_one_clear_error() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(TargetError, match=f"no such process {gone.pid}"):
        tracer().call(lambda: FrozenTree(gone.pid).__enter__())

    held = subprocess.Popen(["sleep", "1000"])
    try:
        other = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys\nfrom lamina.core.attach.tree import FrozenTree\n"
                f"with FrozenTree({held.pid}):\n    print(flush=True)\n    sys.stdin.read()",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(TargetError, match="cannot freeze .*cannot be traced .*Operation not permitted"):
            tracer().call(lambda: FrozenTree(held.pid).__enter__())
        other.communicate()
        assert held.poll() is None
        os.kill(held.pid, 0)
    finally:
        held.kill()
        held.wait()


def test_ending_a_frozen_tree_leaves_only_what_its_parent_has_to_reap() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nprint(flush=True)"],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    parent.stdout.readline()

    def end() -> None:
        with FrozenTree(parent.pid) as tree:
            tree.kill()

    tracer().call(end)
    parent.stdout.close()
    assert parent.wait(timeout=10) == -9
