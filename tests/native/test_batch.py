"""Calls inside a target: they work, nothing leaks, and a target whose tracer dies in the middle goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lamina.core.attach.calls import CallList
from lamina.core.attach.scratch import unmap_scratch
from lamina.core.attach.tracee import choose_end_signal
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.errors import LaminaError
from tests.native.steady import Steady


def prepared(steady: Steady) -> FrozenTree:
    tree = FrozenTree(steady.pid)
    tree.prepare(steady.pid)
    return tree


@pytest.mark.parametrize("steady", ["", "handled"], indirect=True)
def test_every_thread_makes_its_calls_and_is_as_before(steady: Steady) -> None:
    before = steady.status(), steady.maps()

    def work() -> None:
        for _ in range(20):
            with prepared(steady) as tree:
                (process,) = tree
                tree.prepare_scratch(process)
                lists = {}
                for tracee in process.tracees:
                    calls = CallList()
                    calls.add("gettid", expect=tracee.tid)
                    room = calls.room(24)
                    calls.add("sigaltstack", 0, room)
                    lists[tracee.tid] = calls
                process.run_everywhere(lists)

    tracer().call(work)
    steady.goes_on()
    assert (steady.status(), steady.maps()) == before


def test_a_list_longer_than_a_slice_runs_in_several_batches_and_returns_data(steady: Steady) -> None:
    def work() -> bytes:
        with prepared(steady) as tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            where = calls.room(1024)
            for _ in range(1000):
                calls.add("getpid", expect=steady.pid)
            calls.add("getcwd", where, 1024)
            process.leader.run(calls)
            return calls.output(where, 1024).split(b"\0")[0]

    assert tracer().call(work) == str(Path.cwd()).encode()
    steady.goes_on()


def test_a_failed_call_is_named_and_leaves_the_target_well(steady: Steady) -> None:
    def work() -> None:
        with FrozenTree(steady.pid) as tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            calls.add("close", 12345, about="close fd 12345")
            process.leader.run(calls)

    before = steady.maps()
    with pytest.raises(LaminaError, match=r"cannot close fd 12345: close in thread \d+: Bad file descriptor"):
        tracer().call(work)
    steady.goes_on()
    assert steady.maps() == before


def test_signals_sent_during_a_freeze_arrive_afterwards(steady: Steady) -> None:
    def work() -> None:
        with FrozenTree(steady.pid) as tree:
            (process,) = tree
            tree.prepare_scratch(process)
            os.kill(steady.pid, signal.SIGSTOP)
            calls = CallList()
            for _ in range(100):
                calls.add("getpid")
            process.leader.run(calls)

    tracer().call(work)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{steady.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, "the SIGSTOP was lost"
    os.kill(steady.pid, signal.SIGCONT)
    steady.goes_on()


ORPHAN = """
import sys
from lamina.core.attach.calls import CallList
from lamina.core.attach.tree import FrozenTree
pid = int(sys.argv[1])
tree = FrozenTree(pid, announce=lambda pid, at, size: print(at, size, flush=True))
tree.prepare(pid)
with tree:
    (process,) = tree
    tree.prepare_scratch(process)
    for tracee in process.tracees:
        calls = CallList()
        for _ in range(180):
            # select(2), which keeps no restart block: nanosleep would replace that of the thread's own interrupted sleep.
            calls.add("select", 0, 0, 0, 0, calls.data(bytes(8) + (1000).to_bytes(8, "little")))
        tracee.start(calls)
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("steady", "delay_ms"), [("", 0), ("", 20), ("", 90), ("handled", 0), ("handled", 90)], indirect=["steady"])
def test_a_target_whose_tracer_is_killed_goes_home_by_itself(steady: Steady, delay_ms: int) -> None:
    before = steady.status(), steady.maps()
    orphan = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), str(steady.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert orphan.stdout
    address, size = map(int, orphan.stdout.readline().split())
    assert orphan.stdout.readline() == "running\n"
    time.sleep(delay_ms / 1000)  # where in the batch the tracer dies: not a wait for anything
    orphan.kill()
    orphan.communicate()
    steady.goes_on()
    assert steady.status() == before[0]

    unmap_scratch(steady.pid, address, size)
    assert steady.maps() == before[1]
    steady.goes_on()


def test_no_descriptor_and_no_memory_leaks(steady: Steady) -> None:
    def rounds(count: int) -> None:
        for _ in range(count):
            with prepared(steady) as tree:
                tree.prepare_scratch(tree.processes[0])
                calls = CallList()
                calls.add("getpid")
                tree.processes[0].leader.run(calls)
                tree.processes[0].leader.queued_signals(shared=True)

    def rss() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    tracer().call(rounds, 50)
    fds, pages = len(os.listdir("/proc/self/fd")), rss()
    tracer().call(rounds, 300)
    assert len(os.listdir("/proc/self/fd")) == fds
    assert rss() - pages < 512


URG, WINCH, CHLD = (1 << (number - 1) for number in (signal.SIGURG, signal.SIGWINCH, signal.SIGCHLD))


@pytest.mark.parametrize(
    ("caught", "blocked", "pending", "chosen"),
    [
        (0, 0, 0, signal.SIGURG),
        (URG, WINCH, 0, signal.SIGCHLD),
        (URG, ~0, WINCH, signal.SIGCHLD),
        (0, ~0, 0, signal.SIGURG),
        (~0, 0, 0, 0),
        (URG, ~0, WINCH | CHLD, 0),
    ],
)
def test_batches_end_with_a_signal_the_target_would_not_notice(caught: int, blocked: int, pending: int, chosen: int) -> None:
    assert choose_end_signal(caught, blocked, pending) == chosen
