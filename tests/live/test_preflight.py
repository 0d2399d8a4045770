"""Preflight on real processes: what it names, that it touches nothing, and what it costs."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lamina.core.attach.procfs import children_of
from lamina.core.dump.preflight import Examination, capabilities, examine, protected
from lamina.core.errors import TargetError
from tests.unit.kinds_fd.helpers import children, let_go, victim

STAY = "stay()\n"
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"

# What it is → code, what is said, and what the user can do.
# A child shares with its parent, a grandchild with both, and then the child takes one of its own.
GRANDCHILD = (
    LIBC
    + """
r, w = os.pipe()
if libc.syscall(56, FLAG | 17, 0, 0, 0, 0) == 0:
    if libc.syscall(56, FLAG | 17, 0, 0, 0, 0) == 0: signal.pause()
    libc.unshare(FLAG); os.write(w, b"x"); signal.pause()
os.read(r, 1); os.close(r); os.close(w)
"""
)
# clone(3) on a stack of its own, straight into pause(2): CLONE_VM | CLONE_SIGHAND.
SHARED_MEMORY = (
    LIBC
    + """
stack = ctypes.create_string_buffer(1 << 16)
top = (ctypes.addressof(stack) + (1 << 16)) & ~15
assert libc.clone(libc.pause, ctypes.c_void_p(top), 0x100 | 0x800 | 17, None) > 0
"""
)
BLOCKERS = {
    "System V memory": (
        LIBC + "i = libc.shmget(0, 4096, 0o1600); libc.shmat.restype = ctypes.c_void_p; libc.shmat(i, None, 0); libc.shmctl(i, 0, None)",
        "System V shared memory",
    ),
    "a memfd": ("os.memfd_create('x')", "a memory file (memfd)"),
    "a mapped memfd": ("import mmap; f = os.memfd_create('x'); os.truncate(f, 4096); m = mmap.mmap(f, 4096); os.close(f)", "memfd"),
    "a mapped deleted file": (
        "import mmap; f = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(f, 4096); os.close(f); os.unlink(sys.argv[1])",
        "mapped file was deleted",
    ),
    "a timerfd": (LIBC + "libc.timerfd_create(1, 0)", "a timer descriptor (timerfd)"),
    "a signalfd": (LIBC + "libc.signalfd(-1, bytes(128), 0)", "a signal descriptor (signalfd)"),
    "inotify": (LIBC + "libc.inotify_init1(0)", "an inotify instance"),
    "io_uring": (LIBC + "fd = libc.syscall(425, 4, bytes(120))", "an io_uring"),
    "aio": (LIBC + "libc.syscall(206, 4, ctypes.byref(ctypes.c_ulong()))", "aio"),
    "a userfaultfd": (LIBC + "assert libc.syscall(323, 1) >= 0", "a userfaultfd of its own"),
    "a unix listener": ("a = socket.socket(socket.AF_UNIX); a.bind(sys.argv[1] + 's'); a.listen()", "a unix socket that listens on /"),
    "udp": ("a = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); a.bind(('::1', 0))", "a UDP socket, bound to [::1]:"),
    "a connection": (
        "a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname()); c = a.accept()",
        "--tcp-established is not supported yet",
    ),
    "netlink": ("a = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", "a netlink socket"),
    "a raw packet socket": ("a = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "a packet socket"),
    "a deleted file": ("os.open(sys.argv[1], os.O_RDONLY); os.unlink(sys.argv[1])", "the file was deleted"),
    "a deleted directory": ("os.mkdir(sys.argv[1] + 'd'); os.chdir(sys.argv[1] + 'd'); os.rmdir(sys.argv[1] + 'd')", "working directory"),
    "a lock": ("fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)", "holds a flock lock"),
    "a stale registration": ("r, w = os.pipe(); e = select.epoll(); e.register(r); os.dup(r); os.close(r)", "still watches a file"),
    "a seccomp filter": (
        LIBC + "f = ctypes.create_string_buffer(b'\\x06\\0\\0\\0\\0\\0\\xff\\x7f'); import struct\n"
        "p = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(f)))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, p, 0, 0) == 0",
        "seccomp filter",
    ),
    "a namespace": (LIBC + "assert libc.unshare(0x04000000) == 0", "in a uts namespace other than lamina's"),
    "all other namespaces": (
        LIBC + "assert libc.unshare(0x1E020080) == 0\nif os.fork() == 0: signal.pause()",
        "in a cgroup, ipc, mnt, time (for its children), user, uts namespace",
    ),
    "a child in a time namespace": (LIBC + "assert libc.unshare(0x80) == 0\nif os.fork() == 0: signal.pause()", "a time, time (for"),
    "a child's namespace": (LIBC + "assert libc.unshare(0x20000000) == 0", "pid (for its children) namespace"),
    "a network of its own": (LIBC + "assert libc.unshare(0x40000000) == 0", "in a net namespace"),
    "a thread on its own": (
        LIBC + "import threading; done = threading.Event()\n"
        "def run():\n    libc.unshare(0x400); done.set(); threading.Event().wait()\n"
        "threading.Thread(target=run, daemon=True).start(); done.wait()",
        "does not share its descriptor table",
    ),
    "a table that only a grandparent has": (GRANDCHILD.replace("FLAG", "0x400"), "shares its descriptor table (CLONE_FILES) with process"),
    "a umask that only a grandparent has": (GRANDCHILD.replace("FLAG", "0x200"), "shares its working directory and umask (CLONE_FS) with"),
    "shared memory": (SHARED_MEMORY, "shares its memory (CLONE_VM or vfork)"),
    "shared signal actions": (SHARED_MEMORY, "shares its signal actions (CLONE_SIGHAND)"),
    "an orphaned session": (
        "r, w = os.pipe()\nlibc = __import__('ctypes').CDLL(None); libc.prctl(36, 1)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.close(r); os.close(w); signal.pause()\n    os._exit(0)\n"
        "os.close(r); os.close(w); os.wait()",
        "whose leader has ended",
    ),
    "a pseudo-terminal": ("import pty; pty.openpty()", "the controlling side of a pseudo-terminal"),
}  # fmt: skip


def told(found: Examination) -> str:
    return "\n".join(str(blocker) for blocker in found.blockers)


def look(pid: int, shell_job: bool = False) -> Examination:
    let_go(pid)
    return examine(pid, shell_job=shell_job)


@pytest.mark.parametrize("what", BLOCKERS)
def test_a_blocker_is_named(tmp_path: Path, what: str) -> None:
    code, words = BLOCKERS[what]
    data = tmp_path / "data"
    data.write_bytes(b"x" * 4096)
    with victim(f"{code}\n{STAY}", data) as pid:
        assert words in told(look(pid))


def test_a_plain_program_has_no_blocker_and_is_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"x" * 4096)
    code = """
import threading
f = os.open(sys.argv[1], os.O_RDWR); r, w = os.pipe(); os.write(w, b"abc"); e = select.epoll(); e.register(r)
s = socket.create_server(("127.0.0.1", 0)); os.eventfd(1)
for n in range(8): threading.Thread(target=threading.Event().wait, daemon=True).start()
if os.fork() == 0: signal.pause()
if os.fork() == 0: os._exit(3)
"""
    with victim(code + STAY, data) as pid:
        let_go(pid)
        before = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("maps", "status", "fdinfo/4")]
        found = examine(pid)
        assert told(found) == ""
        assert set(found.pids) == {pid, *children(pid)}
        assert found.tracker.name
        after = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("maps", "status", "fdinfo/4")]
        drop = (b"ctxt_switches", b"VmRSS", b"Rss", b"State", b"SigQ")
        clean = [[line for line in text.splitlines() if not any(word in line for word in drop)] for text in (before[1], after[1])]
        assert clean[0] == clean[1]
        assert before[0] == after[0]
        assert before[2] == after[2]


def test_it_is_cheap(tmp_path: Path) -> None:
    """The screen examines the rows in view: a few ms each, best of several (other work runs beside)."""
    with victim(STAY) as pid:
        look(pid)
        times = []
        for _ in range(20):
            started = time.perf_counter()
            examine(pid)
            times.append(time.perf_counter() - started)
        assert min(times) < 0.005, f"{min(times) * 1000:.1f} ms"


def test_external_pipes_name_who_holds_the_other_end() -> None:
    reading, writing = os.pipe()
    try:
        with victim(STAY, popen={"stdout": writing, "stderr": writing}) as pid:
            text = told(look(pid))
            assert f"standard output and standard error is a pipe whose reading end is held by process {os.getpid()}" in text
            assert "> out.log 2>&1" in text
            assert text.count("pipe:[") == 1
    finally:
        os.close(reading)
        os.close(writing)


def test_a_pipe_inside_the_tree_is_no_blocker_even_with_a_closed_end() -> None:
    with victim(f"r, w = os.pipe(); a, b = os.pipe(); os.close(b)\nif os.fork() == 0: signal.pause()\n{STAY}") as pid:
        assert told(look(pid)) == ""


def test_an_epoll_inherited_by_a_child_that_closed_what_it_watches() -> None:
    code = "r, w = os.pipe(); e = select.epoll(); e.register(r)\nchild = os.fork()\nif child == 0:\n    os.close(r); signal.pause()\n"
    closed = "while os.path.lexists(f'/proc/{child}/fd/{r}'): pass\n"
    with victim(code + closed + STAY) as pid:
        assert told(look(pid)) == ""


def test_terminals_want_shell_job() -> None:
    master, slave = pty.openpty()
    try:
        with victim(STAY, popen=dict.fromkeys(("stdin", "stdout", "stderr"), slave) | {"start_new_session": False}) as pid:
            found = look(pid)
            assert told(found).count("add --shell-job") == 1
            assert told(examine(pid, shell_job=True)) == ""
    finally:
        os.close(slave)
        os.close(master)


def test_a_foreign_session_without_a_terminal_is_a_note() -> None:
    with victim(STAY, popen={"start_new_session": False}) as pid:
        found = look(pid)
        assert told(found) == ""
        assert any("session of its own" in note for note in found.notes)


def test_stopped_and_traced_processes() -> None:
    with victim(STAY) as pid:
        assert "kill -CONT" in told(examine(pid))
        let_go(pid)
        if shutil.which("strace") is None:
            pytest.skip("no strace")
        tracer = subprocess.Popen(
            ["strace", "-p", str(pid), "-o", "/dev/null"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            assert f"traced by process {tracer.pid} (strace)" in told(examine(pid))
            assert "strace" in (protected(pid) or "")
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()


def test_who_is_never_touched() -> None:
    assert "pid 1" in told(examine(1))
    assert "lamina itself" in told(examine(os.getpid()))
    assert "runs below it" in told(examine(os.getppid()))
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert "kernel thread" in told(examine(2))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(TargetError, match="no such process"):
        examine(gone.pid)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert "already ended" in told(examine(zombie.pid))
    zombie.wait()


def test_children_that_come_and_go() -> None:
    """Examination of a tree that changes all the time ends, and never fails."""
    code = "ready()\nwhile True:\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)\n"
    with victim(code) as pid:
        let_go(pid)
        for _ in range(50):
            found = examine(pid)
            assert pid in found.pids


def test_another_users_process_needs_root(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become nobody")
    with victim(STAY) as pid:
        let_go(pid)
        child = os.fork()
        if child == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            text = told(examine(pid))
            os._exit(0 if "run lamina as root" in text else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_capabilities_are_found_by_trying() -> None:
    before = set(children_of(os.getpid()))
    found = {capability.name: capability for capability in capabilities()}
    assert found["pidfd_getfd"].available
    assert found["kcmp"].available
    for capability in found.values():
        assert capability.available == (capability.reason == ""), capability
    effective = int(Path("/proc/self/status").read_text().partition("CapEff:\t")[2].split()[0], 16)
    assert found["CAP_SYS_RESOURCE"].available == bool(effective >> 24 & 1)
    # It leaves no child behind, and can be asked from any thread.
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(len(capabilities())))
    thread.start()
    thread.join()
    assert answers == [len(found)]
    assert set(children_of(os.getpid())) <= before
