"""Processes made with a wanted pid, from a large process of many threads; pages written into another process. Nothing leaks."""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamina.core.attach.tracer import tracer
from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, ffi, new_error

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ECHO = b"/bin/true"
PAGE = mmap.PAGESIZE
WALL = 0x40000000


def free_pid() -> int:
    """A pid that nothing holds, far from those that are given out now."""
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    now = os.getpid()
    return next(pid for pid in ((now + limit // 2 + n) % limit for n in range(limit)) if pid > 300 and not Path(f"/proc/{pid}").exists())


@contextmanager
def spawned(pid: int, executable: bytes = ECHO, orphan: bool = False) -> Iterator[Any]:
    spawn, err = ffi.new("lm_spawn *"), new_error()
    check(C.lm_spawn_start(spawn, pid, executable, 0, orphan, err), err)
    try:
        yield spawn
    finally:
        C.lm_spawn_free(spawn)


def seize(pid: int) -> None:
    err = new_error()
    check(C.lm_seize(pid, C.LM_OPT_EXITKILL | C.LM_OPT_TRACE_EXEC, err), err)


def run_to_exec(pid: int, executable: bytes, orphan: bool) -> dict[str, Any]:
    with spawned(pid, executable, orphan) as spawn:
        seize(pid)
        err = new_error()
        check(C.lm_spawn_exec(spawn, err), err)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found = {"exe": os.readlink(f"/proc/{pid}/exe"), "fds": os.listdir(f"/proc/{pid}/fd"), **status}
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, WALL)
    return found


@pytest.mark.parametrize("orphan", [False, True], ids=["our child", "child of init"])
def test_a_process_with_its_pid_held_before_its_first_instruction(orphan: bool) -> None:
    pid = free_pid()
    found = tracer().call(run_to_exec, pid, ECHO, orphan)
    assert found["Pid"] == str(pid) and found["exe"] == os.path.realpath(ECHO.decode())
    assert found["fds"] == [] and found["Threads"] == "1"
    assert int(found["TracerPid"]) in {int(tid) for tid in os.listdir("/proc/self/task")}
    assert (found["PPid"] == str(os.getpid())) is not orphan
    assert found["SigBlk"] == "fffffffffffbfeff"  # all but SIGKILL and SIGSTOP


def test_a_large_process_of_many_threads_spawns_and_leaks_nothing() -> None:
    ballast = bytearray(b"x") * (256 << 20)
    stop = threading.Event()
    others = [threading.Thread(target=lambda: [stop.wait(0.001) for _ in iter(stop.is_set, True)]) for _ in range(8)]
    for thread in others:
        thread.start()
    try:
        for _ in range(3):
            tracer().call(run_to_exec, free_pid(), ECHO, False)
        before = (len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines()))
        for _ in range(40):
            tracer().call(run_to_exec, free_pid(), ECHO, False)
        after = (len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines()))
        assert after[0] == before[0] and after[1] <= before[1] + 2
    finally:
        stop.set()
        for thread in others:
            thread.join()
    assert len(ballast) == 256 << 20


def test_a_program_that_does_not_start_is_named_and_reaped() -> None:
    pid = free_pid()
    with pytest.raises(NativeError, match="execve.*Permission denied"):
        tracer().call(run_to_exec, pid, b"/etc/passwd", False)
    assert not Path(f"/proc/{pid}").exists()


def test_a_taken_pid_is_refused() -> None:
    with pytest.raises(NativeError) as caught, spawned(os.getpid()):
        pass
    assert caught.value.errnum == 17 and caught.value.where == "clone3"


def test_a_process_that_is_not_let_through_ends() -> None:
    pid = free_pid()
    with spawned(pid):
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_it_ends_when_its_maker_dies() -> None:
    pid = free_pid()
    script = (
        "import os, sys\nfrom lamina.core.ffi import C, check, ffi, new_error\n"
        "spawn, err = ffi.new('lm_spawn *'), new_error()\n"
        f"check(C.lm_spawn_start(spawn, {pid}, b'/bin/true', 0, True, err), err)\nprint(os.getpid(), flush=True)\nsys.stdin.read()\n"
    )
    maker = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert maker.stdout and maker.stdout.readline()
    waiting = os.pidfd_open(pid)
    maker.kill()
    maker.communicate()
    import select

    assert select.select([waiting], [], [], 30)[0], "it lives on without its maker"
    os.close(waiting)


# -- pages ---------------------------------------------------------------------------------------------------------------------------

HOLDER = """
import ctypes, mmap, sys
size = int(sys.argv[1])
area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(size: int) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        yield process.pid, int(process.stdout.readline())
    finally:
        process.communicate()


def read(pid: int, address: int, size: int) -> bytes:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        content = b""
        while len(content) < size:
            content += memory.read(size - len(content))
        return content


def fill(pid: int, content: bytes, pieces: list[tuple[int, int, int]]) -> int:
    err = new_error()
    return check(C.lm_fill_pieces(pid, ffi.from_buffer(content), len(content), ffi.new("lm_piece[]", pieces), len(pieces), err), err)


def test_pieces_land_where_they_belong() -> None:
    pages = 3000
    content = b"".join(n.to_bytes(8, "little") * (PAGE // 8) for n in range(pages))
    with holder(pages * 2 * PAGE) as (pid, base):
        # Scattered, in the file's order and against it; more than one call takes; some neighbours to be joined.
        pieces = [(base + n * 2 * PAGE, PAGE, (n * 7 % pages) * PAGE) for n in range(pages)]
        assert fill(pid, content, pieces) == pages * PAGE
        got = read(pid, base, pages * 2 * PAGE)
    for n in range(pages):
        assert got[n * 2 * PAGE : n * 2 * PAGE + 8] == (n * 7 % pages).to_bytes(8, "little")
        assert got[(n * 2 + 1) * PAGE : (n * 2 + 2) * PAGE] == bytes(PAGE)


def test_a_pages_file_that_is_too_short_is_an_error() -> None:
    with holder(4 * PAGE) as (pid, base):
        with pytest.raises(NativeError, match="shorter than its map"):
            fill(pid, bytes(2 * PAGE), [(base, 3 * PAGE, 0)])
        with pytest.raises(NativeError, match="shorter than its map"):
            fill(pid, bytes(2 * PAGE), [(base, PAGE, (1 << 64) - PAGE)])


def test_a_file_cut_short_while_it_is_read_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_bytes(bytes(8 * PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8 * PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as view:
        file.truncate(2 * PAGE)
        with holder(8 * PAGE) as (pid, base), pytest.raises(NativeError, match="ends early|cannot fill"):
            err = new_error()
            raw = ffi.from_buffer(view)
            try:
                check(C.lm_fill_pieces(pid, raw, 8 * PAGE, ffi.new("lm_piece[]", [(base, 8 * PAGE, 0)]), 1, err), err)
            finally:
                ffi.release(raw)


def test_an_unmapped_place_is_named() -> None:
    with holder(PAGE) as (pid, _), pytest.raises(NativeError) as caught:
        fill(pid, bytes(PAGE), [(0x10000, PAGE, 0)])
    assert caught.value.object_id == 0x10000


def test_huge_pages_are_made_and_leave_no_flag() -> None:
    block = 2 << 20
    with holder(8 * block) as (pid, base):
        first = -(-base // block) * block
        pidfd, err = os.pidfd_open(pid), new_error()
        runs = ffi.new("uint64_t[]", [first, first + 2 * block, first + 4 * block, first + 5 * block])
        taken = check(C.lm_fill_huge(pid, pidfd, runs, 2, err), err)
        os.close(pidfd)
        assert fill(pid, b"\1" * (5 * block), [(first, 5 * block, 0)]) == 5 * block
        assert read(pid, first, 5 * block) == b"\1" * (5 * block)
        area = Path(f"/proc/{pid}/smaps").read_text().partition(f"{base:x}-")[2].partition("VmFlags:")
        huge = int(area[0].partition("AnonHugePages:")[2].split()[0])
        assert taken in {0, 1, 2} and huge == 2048 * (taken and 3 if taken == 2 else huge // 2048)
        assert "hg" not in area[2].splitlines()[0].split()


# -- the switch ----------------------------------------------------------------------------------------------------------------------


def release(tids: list[int], pids: list[int]) -> None:
    err = new_error()
    kept = ffi.new("uint64_t[]", len(tids))
    check(C.lm_release_all(ffi.new("int[]", tids), kept, len(tids), ffi.new("int[]", pids), len(pids), err), err)


def test_a_switch_that_fails_half_way_leaves_nothing() -> None:
    """One of the threads is not ours to let go: all processes end, also those that were no longer bound to us."""
    pids = [free_pid()]
    pids.append(next(pid for pid in range(pids[0] + 1, pids[0] + 1000) if not Path(f"/proc/{pid}").exists()))

    def run() -> None:
        for pid in pids:
            with spawned(pid) as spawn:
                seize(pid)
                err = new_error()
                check(C.lm_spawn_exec(spawn, err), err)
        open_before = sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(NativeError, match="die with us"):
            release([pids[0], 1], pids)
        assert sorted(os.listdir("/proc/self/fd")) == open_before
        for pid in pids:
            assert os.waitpid(pid, WALL)[1] == signal.SIGKILL

    tracer().call(run)


def test_after_the_switch_nobody_is_traced() -> None:
    pid = free_pid()

    def run() -> None:
        with spawned(pid, b"/bin/sleep") as spawn:
            seize(pid)
            err = new_error()
            check(C.lm_spawn_exec(spawn, err), err)
        none = ffi.new("lm_thread *")
        none.tid = pid
        err = new_error()
        check(C.lm_read_thread(none, err), err)
        none.sigmask = 0
        check(C.lm_write_thread(none, err), err)
        release([pid], [pid])

    tracer().call(run)
    # It ran by itself: without an argument, sleep(1) fails.
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
