"""lm_copy_*: pages of a real process to memory, to a file and back, byte for byte."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.core.dirty.copy import WarmBuffer, copy_runs, copy_runs_to_fd
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import Cancelled, NativeError, TargetError
from lamina.core.events import CancelToken
from tests.native.memory_victim import MIB, PROT_NONE, Victim, own_fds, own_rss, victim_in


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with victim_in(tmp_path) as found:
        yield found


@pytest.fixture
def out(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    yield fd
    os.close(fd)


def numbered(victim: Victim, address: int, pages: int) -> bytes:
    """Write another byte to every page; what the memory now holds."""
    expected = bytearray(pages * PAGE)
    for page in range(0, pages, 251):
        for value in range(min(251, pages - page)):
            expected[(page + value) * PAGE] = value + 1
    for value in range(min(251, pages)):
        victim.ask("write", address + value * PAGE, -(-(pages - value) // 251), 251 * PAGE, value + 1)
    return bytes(expected)


def part(content: bytes, address: int, runs: PageRuns) -> bytes:
    return b"".join(content[start - address : end - address] for start, end in runs)


def test_many_single_pages_and_one_long_run(victim: Victim, out: int) -> None:
    address = victim.map(16 * MIB)
    content = numbered(victim, address, 4096)
    scattered = PageRuns.from_pages([address + page * PAGE for page in range(0, 4096, 2)])  # two calls' worth of runs
    whole = PageRuns.of([(address, address + 16 * MIB)])
    mixed = scattered.clip(address, address + MIB) | PageRuns.of([(address + 3 * MIB, address + 9 * MIB)])
    buffer = WarmBuffer(16 * MIB)
    for runs in (scattered, whole, mixed, PageRuns.empty()):
        assert not copy_runs(victim.pid, runs, buffer)
        assert bytes(buffer.view[: runs.bytes]) == part(content, address, runs)
        for size in (PAGE, 7 * PAGE, MIB):
            assert not copy_runs_to_fd(victim.pid, runs, out, 12345, buffer=WarmBuffer(size))
            assert os.pread(out, runs.bytes, 12345) == part(content, address, runs)


def test_inaccessible_memory_is_read_by_the_other_way(victim: Victim, out: int) -> None:
    address = victim.map(3 * MIB)
    content = numbered(victim, address, 768)
    victim.ask("protect", address + MIB, MIB, PROT_NONE)
    whole = PageRuns.of([(address, address + 3 * MIB)])
    buffer = WarmBuffer(3 * MIB)
    assert not copy_runs(victim.pid, whole, buffer)
    assert bytes(buffer.view) == content
    assert not copy_runs_to_fd(victim.pid, whole, out, 0)
    assert os.pread(out, 3 * MIB, 0) == content


def test_pages_that_vanished_are_named_and_keep_their_place(victim: Victim, out: int) -> None:
    address = victim.map(8 * PAGE)
    content = numbered(victim, address, 8)
    victim.ask("unmap", address + 2 * PAGE, 3 * PAGE)
    runs = PageRuns.from_pages([address + page * PAGE for page in (0, 1, 2, 4, 5, 7)])
    gone = PageRuns.from_pages([address + 2 * PAGE, address + 4 * PAGE])
    buffer = WarmBuffer(6 * PAGE)
    buffer.view[:] = b"\xff" * buffer.size
    expected = bytearray(content)
    expected[2 * PAGE : 5 * PAGE] = bytes(3 * PAGE)
    assert copy_runs(victim.pid, runs, buffer) == gone
    assert bytes(buffer.view) == part(bytes(expected), address, runs)
    assert copy_runs_to_fd(victim.pid, runs, out, 0) == gone
    assert os.pread(out, 7 * PAGE, 0) == part(bytes(expected), address, runs)


def test_a_large_vanished_area_takes_no_minute(victim: Victim) -> None:
    address = victim.map(64 * MIB)
    runs = victim.write(address, 64 * 256)
    victim.ask("unmap", address, 64 * MIB)
    assert copy_runs(victim.pid, runs, WarmBuffer(64 * MIB)) == runs


def test_progress_and_cancellation(victim: Victim, out: int) -> None:
    address = victim.map(160 * MIB)
    runs = victim.write(address, 160 * 256)
    told: list[int] = []
    copy_runs_to_fd(victim.pid, runs, out, 0, on_progress=told.append)
    assert told == [4096 * step for step in range(1, 11)]
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        copy_runs_to_fd(victim.pid, runs, out, 0, cancel=cancel)


def test_errors_name_the_call(victim: Victim, out: int) -> None:
    address = victim.map(4 * PAGE)
    runs = victim.write(address, 4)
    with pytest.raises(NativeError, match="holds 8192 bytes only"):
        copy_runs(victim.pid, runs, WarmBuffer(2 * PAGE))
    with pytest.raises(NativeError, match="No space left"):
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            copy_runs_to_fd(victim.pid, runs, full, 0)
        finally:
            os.close(full)
    victim.end()
    with pytest.raises(TargetError, match="has ended"):
        copy_runs(victim.pid, runs, WarmBuffer(4 * PAGE))


def test_nothing_leaks(victim: Victim, out: int) -> None:
    address = victim.map(2 * MIB)
    runs = PageRuns.of([(address, address + 2 * MIB)])
    numbered(victim, address, 512)
    victim.ask("unmap", address + MIB, PAGE)
    buffer = WarmBuffer(2 * MIB)

    def once() -> None:
        assert copy_runs(victim.pid, runs, buffer).pages == 1
        copy_runs_to_fd(victim.pid, runs, out, 0, buffer=buffer)

    for _ in range(10):
        once()
    fds, rss = own_fds(), own_rss()
    for _ in range(150):
        once()
    assert own_fds() == fds
    assert own_rss() - rss < 4 * MIB
