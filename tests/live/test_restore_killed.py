"""SIGKILL of the restorer in the middle of its work: nothing is left of the tree, or all of it runs. The next restore works."""

import os
import random
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, Victim, alive, dump, full, lamina, reap_orphans, start_c, tree_of, wait_gone

TIMES = full(100, 8)
# Imports take longer than a restore: they are over when it says so, and what is killed is the restore itself.
RESTORER = """
import sys
from pathlib import Path
import lamina.core.restore.rebuild
from lamina.core.restore.request import RestoreRequest
from lamina.core.restore.run import restore
print("ready", flush=True)
sys.stdin.readline()
restore(RestoreRequest(Path(sys.argv[1]), detach=sys.argv[2] == "detached"))
print("done", flush=True)
sys.stdin.read()
"""


def killed_after(seconds: float, layer: Path, how: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", RESTORER, layer, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()
    try:
        # The moment is what is random: nothing is awaited here.
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdin.close()
    process.stdout.close()


def runs_on(pid: int) -> bool:
    """Whether it lives: the kernel ends tracees after their tracer, which takes a moment."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([pidfd], [], [], 0.3)[0]
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("how", ["detached", "our child"])
@pytest.mark.parametrize("name", ["sessions", "avx_threads"])
def test_nothing_is_left(name: str, how: str, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    victim = start_c(reaper, tmp_path / "victim", name)
    layer = layers.new()
    pids = tree_of(victim.pid)
    zombies = [pid for pid in pids if not alive(pid)]
    dump(victim, layer, last=True)
    reap_orphans()
    dice = random.Random(7)
    for _ in range(TIMES):
        killed_after(dice.uniform(0, 0.06), layer, how)
        if runs_on(victim.pid):
            assert [pid for pid in pids if alive(pid)] == [pid for pid in pids if pid not in zombies], "part of the tree runs"
            assert victim.ask()
            reaper.end(victim.pid)
            tally[f"restorer of {name} killed too late"] += 1
        else:
            tally[f"restorer of {name} killed"] += 1
        for pid in pids:
            wait_gone(pid)
    lamina("restore", "-D", layer, "-d")
    assert victim.ask()


def test_a_failed_restore_leaves_nothing(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """A step fails after everything exists: here the pidfile, the last thing before the tree runs."""
    victim = start_c(reaper, tmp_path / "victim", "sessions")
    layer = layers.new()
    pids = tree_of(victim.pid)
    dump(victim, layer, last=True)
    reap_orphans()
    for _ in range(full(20, 2)):
        refused = lamina("restore", "-D", layer, "-d", "--pidfile", tmp_path / "not there" / "pid", ok=False)
        assert refused.status == 1 and "pidfile" in refused.err, refused.said
        reap_orphans()
        assert not any(alive(pid) for pid in pids)
    lamina("restore", "-D", layer, "-d", "--pidfile", tmp_path / "pid")
    assert int((tmp_path / "pid").read_text()) == victim.pid
    assert victim.ask()


def test_nothing_of_ours_is_inherited(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Descriptors, mappings, signal masks and environment are those of the program."""
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    before = observed(victim)
    layer = layers.new()
    lamina("dump", "-t", victim.pid, "-D", layer)
    wait_gone(victim.pid)
    secret = os.memfd_create("ours", 0)
    os.set_inheritable(secret, True)
    lamina("restore", "-D", layer, "-d", pass_fds=(secret,), env={**os.environ, "OURS": "secret"})
    os.close(secret)
    assert observed(victim) == before


def merged(maps: list[str]) -> list[str]:
    """Neighbours of anonymous memory as one: whether the kernel merges two that are alike depends on which was written first."""
    found: list[str] = []
    for line in maps:
        (start, end), rest = line.split(" ")[0].split("-"), line.split(" ")[1:]
        if found and rest[-1] == "0" and found[-1].split(" ")[0].endswith(f"-{start}") and found[-1].split(" ")[1:] == rest:
            found[-1] = " ".join([f"{found[-1].split('-')[0]}-{end}", *rest])
        else:
            found.append(line)
    return found


def observed(victim: Victim) -> dict[str, object]:
    base = Path(f"/proc/{victim.pid}")
    status = dict(line.split(":\t", 1) for line in (base / "status").read_text().splitlines())
    keys = (
        "Name", "Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt",
        "CapEff", "CapBnd", "NoNewPrivs",
    )  # fmt: skip
    return {
        "maps": merged([" ".join(line.split()) for line in (base / "maps").read_text().splitlines()]),
        "descriptors": {name: os.readlink(base / "fd" / name) for name in os.listdir(base / "fd")},
        "environ": (base / "environ").read_bytes(),
        "cmdline": (base / "cmdline").read_bytes(),
        "auxv": (base / "auxv").read_bytes(),
        "limits": (base / "limits").read_text(),
        "links": [os.readlink(base / name) for name in ("exe", "cwd", "root")],
        "group": (os.getpgid(victim.pid) == victim.pid, os.getsid(victim.pid) == victim.pid),
        **{key: status[key].split("/")[0] for key in keys},
    }
