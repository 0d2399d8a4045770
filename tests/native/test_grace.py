"""Grace periods: what they wait for, whom they disturb, and that nothing is held afterwards."""

import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamina.core.attach.grace import grace_period
from lamina.core.attach.procfs import threads_of
from tests.live.harness import Reaper, Victim, build, need_root, reaping, start_c

VICTIMS = Path(__file__).parents[1] / "victims"
PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207
WALL = 0x40000000


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    need_root()
    with reaping() as found:
        yield found


def traced_by(pid: int) -> int:
    words = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return int(words["TracerPid"])


def test_sleepers_are_not_disturbed(reaper: Reaper, tmp_path: Path) -> None:
    """Of twelve kinds of waiting only those that may read from a disk are interrupted, and they do not notice."""
    victim = start_c(reaper, tmp_path / "victim", "waiting_threads")
    while set(victim.ask().values()) != {"waiting"}:
        pass
    for _ in range(50):
        grace = grace_period([victim.pid], 5)
        assert grace.complete
        assert 11 <= grace.threads <= 13  # two of them sleep for three seconds, and end
        assert grace.interrupted <= 3  # read(2) of a pipe and of an eventfd, and the main thread if it was awake
    ended = victim.ask("wake")
    assert set(ended.values()) == {"ok"}, ended


def test_no_wait_with_a_timeout_starts_anew(reaper: Reaper, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(64 << 20))
    victim = start_c(reaper, tmp_path / "victim", "writers", "wait", 8, 2, 0, source)
    deadline = time.monotonic() + 1.5
    many = 0
    while time.monotonic() < deadline:
        assert grace_period([victim.pid], 5).complete
        many += 1
    assert many > 10
    # It sleeps for half a second at a time. Begun anew by every grace period, it would not have ended once.
    assert 0.5e9 <= victim.ask("waits")["longest"] < 0.9e9


def test_a_storm_of_threads_and_signals(tmp_path: Path) -> None:
    """Threads that come and go, and a timer's signals, some of which are about to be taken just when a thread stops for us."""
    binary, counts = build("thread_storm"), tmp_path / "counts"
    process = subprocess.Popen([binary, counts], stdin=subprocess.DEVNULL)

    def read() -> tuple[int, int]:
        return struct.unpack("2Q", counts.read_bytes()[:16]) if counts.exists() and counts.stat().st_size >= 16 else (0, 0)

    try:
        while read()[1] == 0:
            assert process.poll() is None
        for _ in range(200):
            assert grace_period([process.pid], 5).complete
        threads, signals = read()
        deadline = time.monotonic() + 10
        while read()[0] < threads + 1000 or read()[1] <= signals:
            assert process.poll() is None
            assert time.monotonic() < deadline, "threads or signals stopped"
        assert traced_by(process.pid) == 0
    finally:
        process.kill()
        process.wait()


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes without end."""
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ptrace(request: int, pid: int, data: int = 0) -> None:
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if call(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def test_a_thread_that_cannot_be_seen_is_late_and_not_waited_for_longer() -> None:
    with sleeper() as process:
        ptrace(PTRACE_SEIZE, process.pid)  # somebody else's tracee: us
        began = time.monotonic()
        grace = grace_period([process.pid], 0.2)
        assert (grace.complete, grace.late, grace.late_tid) == (False, 1, process.pid)
        assert 0.2 <= time.monotonic() - began < 2
        ptrace(PTRACE_INTERRUPT, process.pid)
        os.waitpid(process.pid, WALL)
        ptrace(PTRACE_DETACH, process.pid)
        assert grace_period([process.pid], 5).complete


def test_a_stopped_process_stays_stopped() -> None:
    with sleeper() as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        for _ in range(20):
            assert grace_period([process.pid], 5).complete
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state == "T"
        process.send_signal(signal.SIGCONT)
        os.waitpid(process.pid, os.WCONTINUED)
        assert grace_period([process.pid], 5).interrupted == 1


def test_a_process_that_has_ended_has_nothing_pinned() -> None:
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)
    assert grace_period([process.pid, 1 << 22], 5).complete  # a zombie, and a pid that nobody has
    process.wait()


def test_a_vfork_parent_is_not_waited_for() -> None:
    """It sleeps without interruption until its child execs or ends: waiting for it would last as long as the child pleases."""
    source = '#include <unistd.h>\nint main(void) { if (!vfork()) { char c; write(1, "\\n", 1); read(0, &c, 1); _exit(0); } return 0; }\n'
    binary = build_source(source)
    process: subprocess.Popen[Any] = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline()
        began = time.monotonic()
        grace = grace_period([process.pid], 5)
        assert grace.complete and time.monotonic() - began < 2
    finally:
        process.communicate(b"x")


def build_source(text: str) -> Path:
    built = VICTIMS.parents[1] / "build/victims/vfork_parent"
    built.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O1", "-w", "-x", "c", "-o", built, "-"], input=text.encode(), check=True)
    return built


def test_many_threads_are_seen_once_each(reaper: Reaper, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(64 << 20))
    victim: Victim = start_c(reaper, tmp_path / "victim", "writers", "user", 8, 60, 20, source)
    for _ in range(20):
        assert grace_period([victim.pid], 10).threads == len(threads_of(victim.pid)) == 61
