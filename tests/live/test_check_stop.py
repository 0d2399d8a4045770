"""`check` knows what the dump knows, and `check --stop` what only a stop can tell; both leave the program as it was."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lamina.core.dump.preflight import examine
from lamina.core.dump.stopped import examine_stopped
from tests.live.harness import lamina, need_root

PRELUDE = """
import ctypes, os, resource, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result < 0:
        sys.exit(f"errno {ctypes.get_errno()}")
    return result
"""
STAY = "\nos.write(1, b'ready'); os.close(2); os.close(1)\nwhile True: signal.pause()\n"
LANDLOCK = (
    "must(libc.prctl(38, 1, 0, 0, 0)); fd = must(libc.syscall(444, (ctypes.c_uint64 * 3)(2, 0, 0), 24, 0)); "
    "must(libc.syscall(446, fd, 0)); os.close(fd)"
)
OTHER_USER = "os.setgroups([]); os.setresgid(1234, 1234, 1234); os.setresuid(1234, 1234, 1234); must(libc.prctl(4, 1, 0, 0, 0))\n"
ONLY_INSIDE = {
    "system call user dispatch": (
        "byte = ctypes.c_char(b'\\0'); must(libc.prctl(59, 1, 0, 0, ctypes.c_ulong(ctypes.addressof(byte))))",
        "dispatched",
    ),
    "no writable code": ("must(libc.prctl(65, 1, 0, 0, 0))", "PR_SET_MDWE"),
    "no time stamp counter": ("must(libc.prctl(26, 2, 0, 0, 0))", "PR_SET_TSC"),
    "keys": ("must(libc.syscall(250, 1, None)); must(libc.syscall(248, b'user', b'a', b'b', 1, -3))", "holds keys"),
    "Landlock": (LANDLOCK, "Landlock"),
    "Landlock of another user": (OTHER_USER + LANDLOCK, "Landlock"),
}


@pytest.fixture
def start() -> Iterator[Callable[[str], int]]:
    """Starts a Python program that runs some code and stays; returns its pid."""
    need_root()
    with ExitStack() as stack:

        def run(code: str) -> int:
            command = [sys.executable, "-S", "-c", PRELUDE + code + STAY]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/", start_new_session=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout and process.stdout.read() == b"ready"
            process.stdout.close()
            return process.pid

        yield run


def portrait(pid: int) -> tuple[str, ...]:
    """What must not have changed."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kept = [line for line in status if line.startswith(("SigB", "SigI", "SigC", "SigP", "Shd", "Threads", "VmLck", "Cap", "Seccomp"))]
    return (Path(f"/proc/{pid}/maps").read_text(), *kept)


@pytest.mark.parametrize("name", ONLY_INSIDE)
def test_what_only_the_inside_shows(start: Callable[[str], int], name: str) -> None:
    code, words = ONLY_INSIDE[name]
    pid = start(code)
    before = portrait(pid)
    assert not examine(pid).blockers, "it was known before"
    found = examine_stopped(pid)
    assert any(words in str(blocker) for blocker in found.blockers), found.blockers
    assert portrait(pid) == before


def test_a_program_that_can_be_dumped(start: Callable[[str], int]) -> None:
    pid = start("")
    before = portrait(pid)
    asked = lamina("check", "-t", pid)
    assert "only a stop can tell: system call user dispatch" in asked.out and f"check --stop -t {pid}" in asked.out
    stopped = lamina("check", "--stop", "-t", pid)
    assert "can be dumped" in stopped.out and "only a stop" not in stopped.out
    assert portrait(pid) == before
    assert lamina("check", "--stop", ok=False).status == 2


def test_limits_that_leave_no_room_for_calls_are_known(start: Callable[[str], int]) -> None:
    limited = start(
        "size = 4096 * int(open('/proc/self/statm').read().split()[0]) + 32768\nresource.setrlimit(resource.RLIMIT_AS, (size, -1))"
    )
    (blocker,) = examine(limited).blockers
    assert "RLIMIT_AS" in blocker.why and f"prlimit --pid {limited} --as=" in blocker.fix
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    code = """
import mmap
libc.mmap.restype = ctypes.c_void_p
area = libc.mmap(None, ctypes.c_size_t(4096 * 2 * MOST), 0, 0x4022, -1, 0)
for page in range(MOST):
    if libc.mprotect(ctypes.c_void_p(area + 8192 * page), ctypes.c_size_t(4096), 1) < 0:
        break
"""
    full = start(code.replace("MOST", str(most)))
    (blocker,) = examine(full).blockers
    assert "mappings" in blocker.why and "vm.max_map_count" in blocker.fix


def test_a_pipe_of_children_that_come_and_go_is_inside(start: Callable[[str], int]) -> None:
    pid = start(
        """
import threading
r, w = os.pipe()
def fork():
    while True:
        child = os.fork()
        if not child:
            time.sleep(0.002)
            os._exit(0)
        os.waitpid(child, 0)
threading.Thread(target=fork, daemon=True).start()
"""
    )
    for _ in range(20):
        assert not [blocker for blocker in examine(pid).blockers if "outside the tree" in blocker.why]
