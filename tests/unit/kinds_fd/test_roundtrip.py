"""Each kind of descriptor: captured from a stopped process, saved, and rebuilt in another process, looks the same there."""

import os
import socket
from pathlib import Path

import pytest

from tests.unit.kinds_fd.helpers import let_go, portrait, rebuilt, roundtrip, victim, wait_stopped, write_layer


def test_regular_files_keep_path_flags_offset_and_numbers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"x" * 1000)
    before, after = roundtrip(
        tmp_path,
        """
a = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK); os.lseek(a, 123, 0)
b = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_SYNC)
os.set_inheritable(a, True)
os.dup2(b, 77)
os.dup2(a, 40, inheritable=False)
os.close(a)
c = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
d = os.open(sys.argv[1], os.O_PATH)
e = os.open(sys.argv[1], os.O_RDONLY | os.O_NOFOLLOW)
os.dup2(os.open("/dev/zero", os.O_RDONLY), 900)
stay()
""",
        data,
    )
    assert after == before
    assert {look["fd"] for look in before} >= {0, 1, 2, 40, 77, 900}


def test_shared_descriptions_stay_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"0123456789")
    code = """
a = os.open(sys.argv[1], os.O_RDONLY)
b = os.open(sys.argv[1], os.O_RDONLY)
os.dup2(a, 30)
stay()
"""

    before, after = roundtrip(tmp_path, code, data)
    assert after == before
    by_fd = {look["fd"]: look["file"] for look in after}
    assert by_fd[3] == by_fd[30]
    assert by_fd[4] != by_fd[3]


def test_sharing_across_tasks(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"0123456789")
    code = """
a = os.open(sys.argv[1], os.O_RDONLY)
r, w = os.pipe()
os.write(w, b"waiting")
child = os.fork()
if child == 0:
    os.dup2(a, 60)
    own = os.open(sys.argv[1], os.O_RDONLY)
    stay()
os.waitpid(child, os.WUNTRACED)
stay()
"""
    with victim(code, data) as pid:
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        layer = write_layer(tmp_path / "layer", [pid, child])
    assert {entry.id for entry in layer.fdinfo(2)} < {entry.id for entry in layer.fdinfo(3)}
    with rebuilt(layer) as new:
        from lamina.core.objects.rawfd import KCMP_FILE, alike

        one, two = new[pid], new[child]
        assert alike([(one, 3), (two, 3), (two, 60), (two, 6), (one, 4), (two, 4)], KCMP_FILE) == [0, 0, 0, 3, 4, 4]
        # The restorer let go of its copies: the tree holds the only ends.
        from lamina.core.objects.holders import ObjectHolders

        assert ObjectHolders().outside(os.readlink(f"/proc/{one}/fd/4"), {one, two}) == []


@pytest.mark.parametrize("size", [4096, 65536, 1 << 20])
def test_pipes_keep_content_size_and_flags(tmp_path: Path, size: int) -> None:
    before, after = roundtrip(
        tmp_path,
        """
size = int(sys.argv[1])
r, w = os.pipe2(os.O_NONBLOCK)
fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, size)
os.write(w, bytes(n % 251 for n in range(size - 7)))
r2, w2 = os.pipe()
os.close(w2)
r3, w3 = os.pipe()
os.write(w3, b"nobody reads this")
os.close(r3)
os.open(f"/proc/self/fd/{r}", os.O_RDONLY)
stay()
""",
        size,
    )
    assert after == before
    contents = [look["extra"] for look in before if look["extra"]]
    assert bytes(n % 251 for n in range(size - 7)) in contents
    assert b"nobody reads this" in contents


def test_a_packet_pipe_keeps_its_packet(tmp_path: Path) -> None:
    before, after = roundtrip(tmp_path, "r, w = os.pipe2(os.O_DIRECT)\nos.write(w, b'packet')\nstay()\n")
    assert after == before


def test_the_content_of_a_pipe_is_not_consumed(tmp_path: Path) -> None:
    code = "r, w = os.pipe()\nos.write(w, b'abc')\nready()\nos.write(1, os.read(r, 99) + b'|')\nstay()\n"
    out = tmp_path / "out"
    with out.open("wb") as stream, victim(code, popen={"stdout": stream}) as pid:
        write_layer(tmp_path / "layer", [pid])
        let_go(pid)
        wait_stopped(pid)
        assert out.read_bytes() == b"abc|"


def test_eventfd(tmp_path: Path) -> None:
    before, after = roundtrip(
        tmp_path,
        """
os.eventfd(5, os.EFD_SEMAPHORE)
os.eventfd(0, os.EFD_NONBLOCK)
big = os.eventfd(0, 0)
os.eventfd_write(big, 2**64 - 2)
stay()
""",
    )
    assert after == before
    assert [look["lines"][0] for look in before if look["kind"] == "eventfd"] == [
        ("eventfd-count", "5"), ("eventfd-count", "0"), ("eventfd-count", "fffffffffffffffe"),
    ]  # fmt: skip


def test_epoll_watches_the_same_numbers_with_the_same_data(tmp_path: Path) -> None:
    before, after = roundtrip(
        tmp_path,
        """
r, w = os.pipe()
s = socket.create_server(("127.0.0.1", 0))
e = select.epoll()
os.dup2(e.fileno(), 3 + 200)
inner = select.epoll()
e.register(r, select.EPOLLIN | select.EPOLLET)
e.register(s.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
e.register(inner.fileno(), select.EPOLLIN)
inner.register(w, select.EPOLLOUT | select.EPOLLONESHOT)
stay()
""",
    )
    assert after == before
    assert sum(key == "tfd" for look in after for key, _ in look["lines"]) >= 4


def test_one_shot_watches_that_have_fired_stay_quiet(tmp_path: Path) -> None:
    before, after = roundtrip(
        tmp_path,
        """
pipes = [os.pipe() for _ in range(4)]
e = select.epoll()
for n, (r, w) in enumerate(pipes):
    os.write(w, b"x")
    e.register(r, select.EPOLLIN | (select.EPOLLONESHOT if n % 2 else 0) | (select.EPOLLET if n > 1 else 0))
e.register(pipes[0][1], select.EPOLLOUT | select.EPOLLONESHOT)
e.register(os.eventfd(1), select.EPOLLIN | select.EPOLLONESHOT)
e.poll(0)
e.register(pipes[1][1], select.EPOLLOUT | select.EPOLLONESHOT)
os.close(pipes[3][1])
stay()
""",
    )
    assert after == before
    fired = [text for look in after for key, text in look["lines"] if key == "tfd" and text.split()[2] in ("40000000", "c0000000")]
    assert len(fired) == 4


def test_listening_sockets_accept_again(tmp_path: Path) -> None:
    code = """
four = socket.socket(); four.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
four.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); four.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
four.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30000); four.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 3)
four.bind(("127.0.0.1", 0)); four.listen(17); four.setblocking(False)
six = socket.socket(socket.AF_INET6); six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
six.bind(("::", 0)); six.listen(511)
both = socket.socket(socket.AF_INET6); both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
both.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\5\\0\\0\\0")
both.bind(("::", 0)); both.listen(1)
one, two = (socket.socket() for _ in range(2))
for s in (one, two): s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
one.bind(("127.0.0.1", 0)); two.bind(one.getsockname()); one.listen(5); two.listen(6)
stay()
"""
    with victim(code) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
        before = portrait(pid)
    listeners = [look["extra"] for look in before if look["kind"] == "listening TCP socket"]
    assert [listener.backlog for listener in listeners] == [17, 511, 1, 5, 6]
    with rebuilt(layer) as new:
        assert portrait(new[pid]) == before
        for listener in listeners:
            family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
            address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.address, listener.address)
            with socket.socket(family) as client:
                client.settimeout(5)
                client.connect((address, listener.port))


def test_who_gets_signals(tmp_path: Path) -> None:
    """F_SETOWN of a pipe end, with another signal than SIGIO and O_ASYNC. The owner is the task itself; its pid is new here."""
    code = """
import struct
r, w = os.pipe()
fcntl.fcntl(r, 15, struct.pack("ii", 1, os.getpid()))
fcntl.fcntl(r, 10, signal.SIGUSR1)
fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | os.O_ASYNC)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
stay()
"""
    with victim(code) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
        before = portrait(pid)
        # The old process is still there, so that it can be named.
        with rebuilt(layer) as new:
            assert portrait(new[pid]) == before
    assert [(look["owner"].pid, look["owner"].signal) for look in before if look["owner"].pid] == [(pid, 10)]


def test_hundreds_of_descriptors(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"x" * 1000)
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for n in range(800): os.lseek(os.open(sys.argv[1], os.O_RDONLY), n, 0)
for n in range(300): os.dup2(3 + n * 2, 4095 - n)
stay()
"""
    before, after = roundtrip(tmp_path, code, data)
    assert after == before
    assert len(before) == 3 + 800 + 300
