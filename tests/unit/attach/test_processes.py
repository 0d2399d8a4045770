"""The process table against psutil, and who is protected."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.processes import PF_KTHREAD, ProcessInfo, ProcessTable, ancestors_of, protected_reason


@dataclass(frozen=True)
class Stands:
    identity: Identity
    layer_dir: str = "/S/3"
    tracker: str = "uffd-wp async"
    settled: bool = True


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its standard input to close."""
    script = "import sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process
    process.communicate()


def row_of(rows: tuple[ProcessInfo, ...], pid: int) -> ProcessInfo:
    return next(row for row in rows if row.pid == pid)


def test_rows_say_what_psutil_says(child: "subprocess.Popen[bytes]") -> None:
    row = row_of(ProcessTable().refresh(), child.pid)
    known = psutil.Process(child.pid)
    assert (row.ppid, row.name, row.user, list(row.cmdline)) == (known.ppid(), known.name(), known.username(), known.cmdline())
    assert row.threads == known.num_threads()
    assert abs(row.rss - known.memory_info().rss) < 4 << 20
    assert row.identity == identify(child.pid)
    assert row.protected == ""


def test_rows_are_sorted_and_complete() -> None:
    pids = [row.pid for row in ProcessTable().refresh()]
    assert pids == sorted(pids) and os.getpid() in pids and 1 in pids


def test_what_must_not_be_touched() -> None:
    rows = ProcessTable().refresh()
    assert "lamina itself" in row_of(rows, os.getpid()).protected
    assert "below" in row_of(rows, os.getppid()).protected
    assert "pid 1" in row_of(rows, 1).protected
    kernel = [row for row in rows if row.ppid == 2]
    assert all("kernel thread" in row.protected for row in kernel)
    assert protected_reason(50, "S", PF_KTHREAD, 7, ()) == "a kernel thread"
    assert protected_reason(50, "S", 0, 7, (8, 9)) == ""
    assert "reaped" in protected_reason(50, "Z", 0, 7, ())


def test_ancestors_end_at_pid_1() -> None:
    assert ancestors_of(os.getpid())[0] == os.getppid()
    last = psutil.Process(ancestors_of(os.getpid())[-1])
    assert last.ppid() == 0, "pid 1, or the first of those that came into this pid namespace from outside"


def test_where_a_process_stands(child: "subprocess.Popen[bytes]") -> None:
    standing = [Stands(identify(child.pid), settled=False), Stands(Identity(child.pid, 1, "another boot"))]
    row = row_of(ProcessTable(lambda: standing).refresh(), child.pid)
    assert (row.tracker, row.layer_dir, row.settled) == ("uffd-wp async", "/S/3", False)


def test_exec_is_noticed_and_the_ended_are_gone() -> None:
    script = "import os, sys; print(flush=True); sys.stdin.readline(); os.execvp('cat', ['cat', '-u'])"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    table = ProcessTable()
    process.stdout.readline()
    assert row_of(table.refresh(), process.pid).cmdline[0] == sys.executable
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdin.write(b"ready\n")
    process.stdin.flush()
    # What python had read ahead is gone; cat answers to what comes after it.
    while True:
        row = row_of(table.refresh(), process.pid)
        if row.name == "cat" and row.cmdline:  # the name comes a moment before the command line
            break
    assert row.cmdline == ("cat", "-u")
    process.communicate()
    assert process.pid not in [row.pid for row in table.refresh()]
