"""All kinds of descriptors of a tree, through lamina's own dump and restore: the same numbers, sharing, contents and registrations."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.harness import Layers, Reaper, full, lamina, tree_of, wait_gone
from tests.unit.kinds_fd.helpers import PRELUDE, let_go, portrait, wait_stopped

# The child shares everything, and then makes some of its own; two epolls are shared, one made by each.
CODE = """
f = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND); os.lseek(f, 17, 0)
os.dup2(f, 100)
r, w = os.pipe2(os.O_NONBLOCK); os.write(w, b"in the pipe")
fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 1 << 17)
ev = os.eventfd(3, os.EFD_SEMAPHORE)
four = socket.create_server(("127.0.0.1", 0), backlog=9)
six = socket.create_server(("::1", 0), family=socket.AF_INET6)
e = select.epoll(); e.register(r, select.EPOLLIN | select.EPOLLET); e.register(four, select.EPOLLIN); e.register(ev, select.EPOLLIN)
os.dup2(e.fileno(), 200)
fcntl.fcntl(r, 15, __import__("struct").pack("ii", 1, os.getpid())); fcntl.fcntl(r, 10, signal.SIGURG)
child = os.fork()
if child == 0:
    os.dup2(os.open("/dev/zero", os.O_RDONLY), 300)
    os.close(ev)
    own = select.epoll(); own.register(r); own.register(e.fileno(), select.EPOLLIN)
    os.lseek(os.open(sys.argv[1], os.O_RDONLY), 5, 0)
    stay()
os.waitpid(child, os.WUNTRACED)
stay()
"""


def start(reaper: Reaper, data: Path) -> tuple[int, int]:
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen([sys.executable, "-S", "-c", PRELUDE + CODE, str(data)], start_new_session=True, **streams)
    reaper.watch(process.pid)
    wait_stopped(process.pid)
    child = next(pid for pid in tree_of(process.pid) if pid != process.pid)
    let_go(child)
    let_go(process.pid)
    process.returncode = 0  # reaped by pid, whoever its parent is by then
    return process.pid, child


def test_a_tree_has_its_descriptors_back(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"x" * 100)
    pid, child = start(reaper, data)
    before = portrait(pid, child)
    parent: Path | None = None
    for n in range(full(10, 2)):
        layer = layers.new()
        options = ["--leave-running", "--track-mem"] if n % 2 == 0 else []
        if parent is not None:
            options += ["--prev-images-dir", f"../{parent.name}"]
        lamina("dump", "--tree", pid, "--images-dir", layer, *options)
        if options[:1] == ["--leave-running"]:
            assert portrait(pid, child) == before, "a dump changes nothing"
            reaper.end(pid)
        else:
            for each in (pid, child):
                wait_gone(each)
        lamina("restore", "--images-dir", layer, "--restore-detached")
        assert portrait(pid, child) == before
        parent = layer
