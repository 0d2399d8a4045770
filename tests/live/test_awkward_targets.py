"""Programs that injected calls would harm, or of which a thread is out of reach: refused in one line, and they run on unchanged at once.

And those that only take another way: programs that handle every signal there is, or block signals that wait.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lamina.core.attach.procfs import PAGE, read_maps
from lamina.core.dirty.state import all_states
from lamina.core.dump.recover import recover_targets
from lamina.core.dump.request import DumpRequest
from lamina.core.dump.session import dump as dump_here
from lamina.core.dump.tracking import standing_of, track, untrack
from lamina.core.errors import LaminaError
from lamina.core.events import Event, Progress
from tests.live.harness import (
    FULL,
    PATIENCE_S,
    Layers,
    Reaper,
    Victim,
    dump,
    full,
    lamina,
    lamina_command,
    restore,
    start_c,
    states_of,
    tree_of,
)
from tests.live.trace import differences, observe_tree

DISPATCHED = r"thread \d+ has its system calls dispatched to itself \(PR_SET_SYSCALL_USER_DISPATCH\): not supported yet"
REFUSED = {
    "dispatch leader": DISPATCHED,
    "dispatch thread": DISPATCHED,
    "dispatch allow": DISPATCHED,
    "dispatch vdso": DISPATCHED,
    "dispatch child": DISPATCHED,
    "code32": r"thread \d+ runs 32-bit code \(code segment 0x23\): not supported yet",
    "ldt": r"it has segments of its own \(modify_ldt\), which images cannot hold",
    "mdwe": r"Permission denied; it may have asked for no memory to be writable and executable \(PR_SET_MDWE\): not supported yet",
    "int80": r"thread \d+ is inside a 32-bit system call \(int 0x80\): not supported yet",
}
# Kinds whose odd thread counts in memory that the answering one sees.
COUNTING = {"dispatch leader", "dispatch thread", "dispatch allow", "dispatch vdso", "code32", "step"}


def awkward(reaper: Reaper, directory: Path, kind: str) -> Victim:
    victim = start_c(reaper, directory, "awkward", *kind.split())
    if kind in COUNTING or kind.startswith("dispatch thread"):
        until(lambda: victim.ask()["odd"] > 0)
    return victim


def until(true_soon: object) -> None:
    assert callable(true_soon)
    deadline = time.monotonic() + PATIENCE_S
    while not true_soon():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def runs_on(victim: Victim, kind: str = "") -> None:
    """All of it makes progress, and nothing went wrong in it."""
    before = victim.ask()
    until(lambda: victim.ask()["steps"] > before["steps"])
    if kind in COUNTING:
        until(lambda: victim.ask()["odd"] != before["odd"])
    assert victim.ask()["wrong"] == 0


def test_tracking_is_undone_if_the_freeze_refuses(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """A large program is armed by one thread and protected in live rounds; then the freeze finds one that no call can be made in."""
    size = full(600, 150)
    victim = awkward(reaper, tmp_path / "victim", f"dispatch thread {size}")
    assert victim.ask("write")["faults"] < 16
    before = observe_tree([victim.pid])
    heard: list[Event] = []
    layer = layers.new()
    with pytest.raises(LaminaError, match=DISPATCHED):
        dump_here(DumpRequest(victim.pid, layer, leave_running=True, track_mem=True), heard.append)
    began = time.monotonic()
    runs_on(victim, "dispatch thread")
    assert time.monotonic() - began < (1 if FULL else 10)
    rounds = [event for event in heard if isinstance(event, Progress) and event.phase.startswith("live round")]
    assert any(event.done for event in rounds), "it was not armed before"
    assert not protected_pages(victim.pid)
    assert victim.ask("write")["faults"] < 16
    assert not differences(before, observe_tree([victim.pid]))
    assert os.listdir(layer) == [] and standing_of(victim.pid) is None


def protected_pages(pid: int) -> int:
    """Pages that are write-protected by a userfaultfd: bit 57 (Documentation/admin-guide/mm/pagemap.rst)."""
    count = 0
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for area in read_maps(pid):
            if area.path != "[vsyscall]":
                entries = np.frombuffer(os.pread(pagemap.fileno(), area.size // PAGE * 8, area.start // PAGE * 8), np.uint64)
                count += int(np.count_nonzero(entries >> np.uint64(57) & np.uint64(1)))
    return count


@pytest.mark.parametrize("kind", REFUSED)
def test_what_calls_would_harm_is_refused_and_runs_on(kind: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = awkward(reaper, tmp_path / "victim", kind)
    runs_on(victim, kind)
    before = observe_tree(tree_of(victim.pid))
    layer = layers.new()
    for request in (DumpRequest(victim.pid, layer, leave_running=True, track_mem=True), DumpRequest(victim.pid, layer)):
        with pytest.raises(LaminaError, match=REFUSED[kind]):
            dump_here(request)
        runs_on(victim, kind)
    try:
        track(victim.pid)  # by one thread, and another may be the odd one
    except LaminaError as error:
        assert re.search(REFUSED[kind], str(error))
        assert not untrack(victim.pid)
    else:
        assert kind != "dispatch leader"
        assert untrack(victim.pid)
    runs_on(victim, kind)
    assert not differences(before, observe_tree(tree_of(victim.pid)))
    assert os.listdir(layer) == []
    assert standing_of(victim.pid) is None


def test_strict_seccomp_is_refused_by_name(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """One thread of it: no call can be made there."""
    victim = awkward(reaper, tmp_path / "victim", "strict")
    victim.ask("go")
    until(lambda: victim.ask()["odd"] > 0)
    for words in (("check",), ("check", "--stop"), ("dump", "-D", layers.new(), "-R"), ("track",)):
        ran = lamina(*words, "-t", victim.pid, ok=False)
        assert ran.status == 1 and "runs under seccomp: not supported yet" in ran.out + ran.err, ran.said
    runs_on(victim)
    odd = victim.ask()["odd"]
    until(lambda: victim.ask()["odd"] != odd)


def test_one_that_steps_itself_goes_on_stepping(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Its handler runs without the trap flag: stopped there it can be dumped, anywhere else it is refused."""
    victim = awkward(reaper, tmp_path / "victim", "step")
    refused = 0
    for _ in range(20):
        try:
            dump_here(DumpRequest(victim.pid, layers.new(), leave_running=True))
        except LaminaError as error:
            assert "single-steps itself (trap flag): not supported yet" in str(error)
            refused += 1
        runs_on(victim, "step")
        if refused == 2:
            break
    assert refused


def test_the_command_says_it_in_one_line(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = awkward(reaper, tmp_path / "victim", "dispatch leader")
    before = observe_tree(tree_of(victim.pid))
    ran = lamina("dump", "-t", victim.pid, "-D", layers.new(), "-R", "--track-mem", ok=False)
    assert ran.status == 1
    assert ran.err.count("\n") == 1
    assert "PR_SET_SYSCALL_USER_DISPATCH" in ran.err
    assert not differences(before, observe_tree(tree_of(victim.pid)))
    runs_on(victim, "dispatch leader")


def test_a_thread_that_does_not_stop_holds_nobody_and_is_let_go_when_it_does(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = awkward(reaper, tmp_path / "victim", "vfork")
    victim.ask("go")
    until(lambda: "D" in states_of(victim.pid))
    child = tree_of(victim.pid)[-1]
    assert child != victim.pid
    before = observe_tree(tree_of(victim.pid))
    layer = layers.new()
    for request in (
        DumpRequest(victim.pid, layer, leave_running=True, track_mem=True),
        DumpRequest(victim.pid, layer),
    ):
        began = time.monotonic()
        with pytest.raises(LaminaError, match=r"thread \d+ does not stop: it hangs in uninterruptible sleep \(state D\) \(it runs on"):
            dump_here(request)
        assert time.monotonic() - began < (2.5 if FULL else 10)
        assert "t" not in states_of(victim.pid)
        runs_on(victim)
    # Tracking needs one thread only, and there is another.
    track(victim.pid)
    untrack(victim.pid)
    runs_on(victim)
    assert not differences(before, observe_tree(tree_of(victim.pid)))
    # It comes out of its sleep, with this lamina alive: nobody stops it.
    victim.ask(f"end {child}")
    until(lambda: victim.ask()["odd"] == 1)
    result = dump_here(DumpRequest(victim.pid, layer, leave_running=True, track_mem=True))
    assert result.stats.pages_written
    untrack(victim.pid)
    runs_on(victim)


LEAVE = """
import os, sys
from lamina.core.attach.procfs import read_maps
from lamina.core.attach.tracer import tracer
from lamina.core.dump.arming import arm_missing, frozen
from lamina.core.dump.watched import WatchedTree
pid, what = int(sys.argv[1]), sys.argv[2]
tree = WatchedTree((pid,))
if what == "tracker":
    tracer().call(arm_missing, tree, pid)
else:
    tracer().call(frozen, tree, pid)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("what", ["tracker", "scratch"])
@pytest.mark.parametrize("kind", ["strict", "dispatch go"])
def test_what_a_dead_lamina_left_goes_whatever_came_since(kind: str, what: str, reaper: Reaper, tmp_path: Path) -> None:
    """Seccomp's strict mode, or a leader in which no call can be made any more: then another thread makes it."""
    victim = awkward(reaper, tmp_path / "victim", kind)
    before = observe_tree([victim.pid])[victim.pid]
    subprocess.run([sys.executable, "-c", LEAVE, str(victim.pid), what], check=False)
    assert any(state.identity.pid == victim.pid for state in all_states())
    assert (what == "scratch") == any(area.perms == "rwxp" for area in read_maps(victim.pid))
    victim.ask("go")
    until(lambda: victim.ask()["odd"] > 0)
    assert [identity.pid for identity in recover_targets()] == [victim.pid]
    assert standing_of(victim.pid) is None
    odd = victim.ask()["odd"]
    until(lambda: victim.ask()["odd"] != odd)
    after = observe_tree([victim.pid])[victim.pid]
    assert (after.mappings, after.descriptors) == (before.mappings, before.descriptors)


def test_tracking_ends_although_strict_mode_came_since(reaper: Reaper, tmp_path: Path) -> None:
    victim = awkward(reaper, tmp_path / "victim", "strict")
    before = observe_tree([victim.pid])[victim.pid]
    track(victim.pid)
    victim.ask("go")
    until(lambda: victim.ask()["odd"] > 0)
    assert untrack(victim.pid)
    odd = victim.ask()["odd"]
    until(lambda: victim.ask()["odd"] != odd)
    after = observe_tree([victim.pid])[victim.pid]
    assert (after.mappings, after.descriptors) == (before.mappings, before.descriptors)


@pytest.mark.parametrize("kind", ["handlers", "blocking"])
def test_programs_that_use_every_signal_are_dumped_and_restored(
    kind: str, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]
) -> None:
    victim = awkward(reaper, tmp_path / "victim", kind)
    untouched = observe_tree([victim.pid])
    parent = None
    for _ in range(full(10, 1 + (kind == "handlers"))):
        layer = layers.new()
        assert not dump(victim, layer, parent=parent).json.get("notices")
        runs_on(victim)
        restore(victim, layer)
        runs_on(victim)
        parent = layer
        tally[f"increment and restore of a program that uses every signal ({kind})"] += 1
    assert victim.ask()["own"] == 0, "a handler of the program ran"
    untrack(victim.pid)
    assert not differences({0: untouched[victim.pid]}, {0: observe_tree([victim.pid])[victim.pid]})


def test_ctrl_c_ends_whatever_goes_on(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    """At random moments, also of a freeze that waits for a thread; the target runs on, and the next command finds all in order."""
    plain = start_c(reaper, tmp_path / "plain", "cells", full(512, 32))
    plain.ask("write 4000 1")
    waiting = awkward(reaper, tmp_path / "waiting", "vfork")
    waiting.ask("go")
    until(lambda: "D" in states_of(waiting.pid))
    began = time.monotonic()
    dump(plain, layers.new())
    took = time.monotonic() - began
    dice = random.Random(8)
    for _ in range(full(40, 1)):
        for victim, verb in ((plain, "dump"), (plain, "track"), (plain, "untrack"), (waiting, "dump")):
            layer = layers.new()
            words: list[object] = [verb, "-t", victim.pid]
            if verb == "dump":
                words += ["-D", layer, "-R", "--track-mem"]
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(lamina_command(*words), stdin=quiet, stdout=quiet, stderr=quiet)
            try:
                process.wait(timeout=dice.uniform(0.1, took * 1.2))  # the moment is what is random
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=2 if FULL else PATIENCE_S)
                tally[f"SIGINT of lamina {verb}"] += 1
            runs_on(waiting)
            assert plain.ask()["wrong"] == 0
            assert "t" not in states_of(victim.pid)
