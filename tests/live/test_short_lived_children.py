"""A shell that runs one short command after the other: children begin, replace their program and end at every moment of a dump."""

import subprocess
from pathlib import Path

from lamina.core.dump.request import DumpRequest
from lamina.core.dump.session import dump
from tests.live.harness import Layers, Reaper, alive, full, lamina, wait_gone
from tests.live.trace import observe

ROUNDS = full(100, 12)
CHURN = 'n=0; while :; do /bin/true; n=$((n+1)); echo "$n" > "$1"; done'


def test_children_that_come_and_go_do_not_stop_a_dump(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    counter = tmp_path / "n"
    shell = subprocess.Popen(
        ["bash", "-c", CHURN, "bash", counter], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    shell.returncode = 0  # the reaper collects it
    reaper.watch(shell.pid)
    while not counter.exists() or not counter.read_text():
        assert alive(shell.pid)
    before = observe(shell.pid).descriptors.keys()
    for number in range(ROUNDS):
        dump(DumpRequest(shell.pid, layers.new(), leave_running=True, track_mem=number % 2 == 0))
    assert observe(shell.pid).descriptors.keys() == before, "the last dump ended tracking"
    count = int(counter.read_text() or 0)
    while int(counter.read_text() or 0) <= count:
        assert alive(shell.pid)

    last = layers.new()
    tree = dump(DumpRequest(shell.pid, last)).pids
    for pid in tree:
        wait_gone(pid)
    stopped = counter.read_text()
    lamina("restore", "-D", last, "-d")
    while counter.read_text() in ("", stopped):
        assert alive(shell.pid)
