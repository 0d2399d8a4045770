"""Unix sockets: pairs with what waits in them, in flight and not, are the same again in other processes; who stands in the way is named."""

import os
import socket
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lamina.core.dump.preflight import examine
from lamina.core.image.schema import fd_types, file_entry, scm_entry, sk_packet_entry, sk_ucred_entry, unix_sk_entry
from lamina.core.kinds.sockets.unix import UnixSocket
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.opening import OpenOptions, plan_descriptions
from tests.unit.kinds_fd.helpers import let_go, portrait, rebuilt, roundtrip, victim, write_layer

TYPES = "for t in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):\n"
KEEP = "keep = []\n"

PAIRS = {
    "queues, both ways": "    a.send(b'abc'); a.send(b'de'); b.send(b'x' * 1000); a.setblocking(False)",
    "an end that is gone": "    b.send(b'1'); b.send(b'22'); b.close()",
    "halves shut down": (
        "    a.send(b'1'); b.send(b'2'); a.shutdown(socket.SHUT_WR); c, d = socket.socketpair(socket.AF_UNIX, t)\n"
        "    c.shutdown(socket.SHUT_RD); e, f = socket.socketpair(socket.AF_UNIX, t); f.send(b'3'); e.shutdown(socket.SHUT_RDWR)\n"
        "    keep += [c, d, e, f]"
    ),
    "connected to nobody": "    b.close(); c = socket.socket(socket.AF_UNIX, t); c.shutdown(socket.SHUT_WR); keep.append(c)",
    "large queues": (
        "    a.setsockopt(1, 32, 1 << 22); b.setsockopt(1, 32, 1 << 20)\n"
        "    for n in range(20): a.send(bytes([n]) * 100_000)\n"
        "    for n in range(500): b.send(b'%d' % n)"
    ),
    "options": (
        "    import struct\n"
        "    a.setsockopt(1, 16, 1); a.setsockopt(1, 34, 1); a.setsockopt(1, 76, 1); a.setsockopt(1, 42, 5); a.setsockopt(1, 8, 50_000)\n"
        "    b.setsockopt(1, 7, 40_000); b.settimeout(None); b.setsockopt(1, 21, struct.pack('qq', 3, 5)); b.setsockopt(1, 12, 4)\n"
        "    b.setsockopt(1, 36, 77); b.setsockopt(1, 18, 9) if t == socket.SOCK_STREAM else None\n"
        "    b.setsockopt(1, 13, struct.pack('ii', 1, 7))\n"
        "    fcntl.fcntl(b, 10, 34); fcntl.fcntl(b, fcntl.F_SETFL, os.O_ASYNC)"
    ),
    "an error to report": "    b.send(b'x') if t == socket.SOCK_STREAM else None; a.send(b'unread'); b.close()",
    "senders": (
        "    b.setsockopt(1, 16, 1); a.send(b'1')\n"
        "    if os.fork() == 0: a.send(b'of a child that has ended'); os._exit(0)\n"
        "    os.wait(); a.setsockopt(1, 16, 1); a.send(b'2'); b.send(b'3')"
    ),
    "in flight": (
        "    r, w = os.pipe(); os.write(w, b'in the pipe'); c, d = socket.socketpair(); c.send(b'deep'); n = os.eventfd(7)\n"
        "    a.send(b'plain'); socket.send_fds(a, [b'many'], [r, w, c.fileno(), n, a.fileno(), b.fileno(), 0]); a.send(b'plain')\n"
        "    socket.send_fds(d, [b'itself'], [c.fileno(), d.fileno()]); socket.send_fds(b, [b'own'], [b.fileno()])\n"
        "    socket.send_fds(a, [b'again'], [r]); os.close(r); os.close(w); os.close(n); c.close(); d.close()"
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_pairs_are_as_they_were(tmp_path: Path, what: str) -> None:
    code = f"{KEEP}{TYPES}    a, b = socket.socketpair(socket.AF_UNIX, t); keep += [a, b]\n{PAIRS[what]}\nstay()\n"
    before, after = roundtrip(tmp_path, code)
    assert after == before
    assert len([look for look in before if look["kind"] == "unix socket"]) >= 3


def test_empty_datagrams(tmp_path: Path) -> None:
    code = f"""{KEEP}{TYPES[:-1].replace("socket.SOCK_STREAM, ", "")}
    a, b = socket.socketpair(socket.AF_UNIX, t); keep += [a, b]
    a.send(b""); a.send(b""); b.send(b""); b.send(b"1"); b.send(b""); b.send(b"2")
stay()
"""
    with victim(code) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
    with rebuilt(layer) as new:
        looks = [look for look in portrait(new[pid]) if look["kind"] == "unix socket"]
        messages = [[content for content, _, _ in look["extra"]["messages"]] for look in looks]
    assert messages == [[b"", b"1", b"", b"2"], [b"", b""]] * 2


def test_empty_datagrams_that_a_look_passes_over_are_counted(tmp_path: Path) -> None:
    """A look marks them (skb->peeked), and the next finds the first alone."""
    code = "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.send(b''); a.send(b''); a.send(b'')\nstay()\n"
    with victim(code) as pid:
        for number in range(3):
            layer = write_layer(tmp_path / str(number), [pid])
            assert [content for _, content in layer.records("sk-queues")] == [b"", b"", b""]


def test_a_pair_between_two_tasks(tmp_path: Path) -> None:
    code = """
a, b = socket.socketpair(); c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.send(b"to the child"); c.send(b"one"); c.send(b"two")
child = os.fork()
if child == 0:
    a.close(); d.close(); os.dup2(b.fileno(), 50)
    stay()
os.waitpid(child, os.WUNTRACED)
b.close()
stay()
"""
    with victim(code) as pid:
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        layer = write_layer(tmp_path / "layer", [pid, child])
        before = portrait(pid, child)
    assert plan_descriptions(layer, DESCRIPTORS) == []
    with rebuilt(layer) as new:
        assert portrait(new[pid], new[child]) == before


def test_an_end_outside_the_tree_is_named() -> None:
    ours, its = socket.socketpair()
    code = f"os.dup2({its.fileno()}, 77); os.close({its.fileno()})\nstay()\n"
    with ours, its, victim(code, popen={"pass_fds": [its.fileno()]}) as pid:
        its.close()
        let_go(pid)
        found = "\n".join(map(str, examine(pid).blockers))
        assert "fd 77 (socket:[" in found and f"other end is held by process {os.getpid()}" in found
        both = os.dup(os.pidfd_open(pid))
        os.close(both)


def test_an_end_that_another_program_has_too_is_named() -> None:
    code = """
a, b = socket.socketpair()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        b.close(); stay()
    os._exit(0)
os.wait()
stay()
"""
    with victim(code) as pid:
        let_go(pid)
        found = "\n".join(map(str, examine(pid).blockers))
        assert "a unix socket, one of a pair that is held by" in found
        orphan = int(found.partition("held by process ")[2].split()[0])
        os.kill(orphan, 9)


def test_a_chosen_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    code = "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.setsockopt(1, 16, 1); a.send(b'x')\nstay()\n"
    with victim(code) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
        (blocker,) = plan_descriptions(layer, DESCRIPTORS)
        assert f"process {pid}" in blocker.why and "has it" in blocker.why
        assert plan_descriptions(layer, DESCRIPTORS, OpenOptions(ending=frozenset({pid}))) == []
    assert plan_descriptions(layer, DESCRIPTORS) == []


def test_reading_a_queue_leaves_no_trace() -> None:
    """Looked at by the program itself, before and after."""
    code = """
import struct
keep = []
for t in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = socket.socketpair(socket.AF_UNIX, t); keep += [a, b]
    b.setsockopt(1, 42, 2); b.setsockopt(1, 76, 1); a.send(b"hello"); socket.send_fds(a, [b"fd"], [0])
    if t == socket.SOCK_STREAM:
        c, d = socket.socketpair(); c.send(b"last"); d.send(b"unread"); c.close(); keep.append(d)
def look():
    return [(s.getsockopt(1, 42), s.getsockopt(1, 16), s.getsockopt(1, 76)) for s in keep]
before = look()
ready()
assert look() == before
for s in keep:
    s.setsockopt(1, 42, -1)
assert d.recv(10) == b"last"
try:
    d.recv(10)
    os._exit(4)
except ConnectionResetError:
    pass
for s in keep:
    while True:
        try:
            if not s.recv(100, socket.MSG_DONTWAIT): break
        except BlockingIOError:
            break
os._exit(0)
"""
    with victim(code) as pid:
        for _ in range(2):
            portrait(pid)
        held = len(os.listdir("/proc/self/fd"))
        portrait(pid)
        assert len(os.listdir("/proc/self/fd")) == held
        let_go(pid)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": 3}, "is of type 3"),
        ({"state": 99}, "is in state 99"),
        ({"peer": 7}, "is its own other end"),
        ({"name": b"x" * 109}, "has a name of 109 bytes"),
        ({"flags": 0o40002}, "O_DIRECT"),
    ],
)
def test_a_record_that_cannot_be(changes: dict[str, object], words: str) -> None:
    record = unix_sk_entry(id=1, ino=7, type=1, state=1, flags=2, uflags=0, backlog=0, peer=8, name=b"")
    assert [*UnixSocket().damage(record)] == []
    for name, value in changes.items():
        setattr(record, name, value)
    assert any(words in why for why in UnixSocket().damage(record))


def packet(**values: object) -> sk_packet_entry:
    return sk_packet_entry(**{"id_for": 1, "length": 0, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (packet(id_for=3), "for file 3, which is no unix socket"),
        (packet(scm=[scm_entry(type=2, rights=[1])]), "1 objects of type 2"),
        (packet(scm=[scm_entry(type=1)]), "0 objects of type 1"),
        (packet(scm=[scm_entry(type=1, rights=[1] * 200)] * 2), "more than 253 descriptors"),
        (packet(scm=[scm_entry(type=1, rights=[77])]), "has file 77 in flight, which the layer does not have"),
        (packet(ucred=sk_ucred_entry(pid=0, uid=0, gid=0)), "is from process 0"),
        (packet(ucred=sk_ucred_entry(pid=1 << 22, uid=0, gid=0)), "is from process 4194304"),
        (packet(ucred=sk_ucred_entry(pid=1, uid=0xFFFFFFFF, gid=0)), "user 4294967295"),
        ((7, 8, 8), "is the same socket as its usk 1"),
        ((7, 9, 8), "one of a pair whose other end it does not have"),
    ],
)
def test_a_queue_or_pair_that_cannot_be(record: Any, words: str) -> None:
    class Written:
        """A layer with a pair, and a file."""

        files: ClassVar = {
            1: file_entry(type=fd_types.UNIXSK, id=1, usk=end(1, 7, 8)), 2: file_entry(type=fd_types.UNIXSK, id=2, usk=end(2, 8, 7)),
            3: file_entry(type=fd_types.REG, id=3),
        }  # fmt: skip
        queue: ClassVar = [(packet(ucred=sk_ucred_entry(pid=1, uid=2, gid=3), scm=[scm_entry(type=1, rights=[1, 3])]), b"")]

        def records(self, image: str) -> list[tuple[sk_packet_entry, bytes]]:
            return self.queue

    layer: Any = Written()
    assert [*UnixSocket().layer_damage(layer, {})] == []
    if isinstance(record, tuple):
        ino, peer, of_second = record
        layer.files = {**layer.files, 1: file_entry(type=fd_types.UNIXSK, id=1, usk=end(1, 7, peer))}
        layer.files[2] = file_entry(type=fd_types.UNIXSK, id=2, usk=end(2, ino if words.startswith("is the") else of_second, 7))
    else:
        layer.queue = [(record, b"")]
    assert any(words in why for _, why in UnixSocket().layer_damage(layer, {}))


def end(ident: int, ino: int, peer: int) -> unix_sk_entry:
    return unix_sk_entry(id=ident, ino=ino, type=1, state=1, flags=2, uflags=0, backlog=0, peer=peer, name=b"")
