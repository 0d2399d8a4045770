"""What cannot be saved or rebuilt is refused by name."""

import ctypes
import os
import socket
from pathlib import Path

import pytest

from lamina.core.dump.preflight import examine
from lamina.core.errors import ImageError, RefusedError
from lamina.core.image.format import encode_image
from lamina.core.image.layer import Layer
from lamina.core.image.schema import fd_types, fdinfo_entry
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.file_table import FileTable, path_reader
from lamina.core.objects.named_file import changed, path_of
from lamina.core.objects.opening import OpenOptions, open_descriptions, plan_descriptions
from tests.unit.kinds_fd.helpers import let_go, victim, write_layer

QUEUE = "import ctypes; libc = ctypes.CDLL(None); name = b'/%d' % os.getpid(); assert libc.mq_open(name, 0o102, 0o600, None) >= 0; "
LATE = {
    "a deleted file": ("os.open(sys.argv[1], os.O_RDONLY); os.unlink(sys.argv[1])", "the file was deleted"),
    "a replaced file": (
        "open(sys.argv[1] + 'n', 'w'); os.open(sys.argv[1], os.O_RDONLY); os.rename(sys.argv[1] + 'n', sys.argv[1])",
        "the file was deleted",
    ),
    "a flock": ("fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)", "flock lock"),
    "a record lock": ("fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)", "fcntl lock"),
    "two packets": ("r, w = os.pipe2(os.O_DIRECT); os.write(w, b'1'); os.write(w, b'2')", "2 packets"),
    "a named unix socket": ("a = socket.socket(socket.AF_UNIX); a.bind(sys.argv[1] + 's')", "a unix socket, bound to /"),
    "a unix listener": ("a = socket.socket(socket.AF_UNIX); a.bind('\\0' + sys.argv[1]); a.listen()", "a unix socket that listens on @/"),
    "a unix connection": (
        "a = socket.socket(socket.AF_UNIX); a.bind(sys.argv[1] + 's'); a.listen()\n"
        "b = socket.socket(socket.AF_UNIX); b.connect(sys.argv[1] + 's')",
        "a unix socket, connected to /",
    ),
    "a datagram socket of one direction": (
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "import ctypes; ctypes.CDLL(None).connect(a.fileno(), b'\\0\\0', 2)",
        "connected to one that is not connected to it",
    ),
    "an out-of-band byte": ("a, b = socket.socketpair(); a.send(b'1', socket.MSG_OOB)", "out-of-band byte"),
    "an error before messages": (
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); a.send(b'1'); b.send(b'2'); a.close()",
        "an error to report before them",
    ),
    "empty datagrams between others": (
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.send(b'1'); a.send(b''); a.send(b'2')\n"
        "b.setsockopt(1, 42, 1); b.recv(1, socket.MSG_PEEK); b.setsockopt(1, 42, 1); b.recv(1, socket.MSG_PEEK)",
        "in which 1 empty datagram wait between others",
    ),
    "a filter of a unix socket": (
        "import ctypes, struct; a, b = socket.socketpair(); "
        "code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 65535)); "
        "a.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))",
        "a unix socket with a packet filter attached",
    ),
    "an epoll in flight": (
        "a, b = socket.socketpair(); e = select.epoll(); socket.send_fds(a, [b'1'], [e.fileno()]); e.close()",
        "a descriptor in flight (anon_inode:[eventpoll]) in fd",
    ),
    "a memfd in flight": (
        "a, b = socket.socketpair(); f = os.memfd_create('x'); socket.send_fds(a, [b'1'], [f]); os.close(f)",
        "a memory file",
    ),
    "the other end elsewhere": (
        "a, b = socket.socketpair(); c, d = socket.socketpair(); socket.send_fds(c, [b'1'], [b.fileno()]); b.close()\n"
        "if os.fork() == 0: a.close(); signal.pause()\n"
        "c.close(); d.close()",
        "other end nobody in the tree has",
    ),
    "an udp socket": ("a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))", "UDP socket, bound to 127.0.0.1"),
    "a connection": (
        "a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname()); c = a.accept()",
        "a TCP connection to 127.0.0.1:",
    ),
    "an unaccepted connection": (
        "a = socket.create_server(('127.0.0.1', 0)); b = socket.create_connection(a.getsockname())",
        "1 new connection waits to be accepted",
    ),
    "a one-shot watch that has fired": (
        "a = socket.create_server(('127.0.0.1', 0)); e = select.epoll(); e.register(a, select.EPOLLIN | select.EPOLLONESHOT); "
        "socket.create_connection(a.getsockname()).close(); e.poll(); a.accept()[0].close()",
        "one-shot watch of descriptor",
    ),
    "a filter": (
        "import ctypes, struct; a = socket.create_server(('127.0.0.1', 0)); "
        "code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 65535)); "
        "a.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))",
        "a packet filter attached",
    ),
    "keys of signed segments": (
        "import struct; a = socket.create_server(('127.0.0.1', 0)); "
        "a.setsockopt(6, 14, struct.pack('=HxxI120xxxHI80s', socket.AF_INET, 0x0200007f, 3, 0, b'key'))",
        "keys for signed segments (TCP_MD5SIG)",
    ),
    "keys for a whole IPv6 network": (
        "import struct; a = socket.create_server(('::1', 0), family=socket.AF_INET6); "
        "a.setsockopt(6, 32, struct.pack('=H6x16s104xBBHI80s', socket.AF_INET6, socket.inet_pton(10, 'fd00::'), 1, 8, 3, 0, b'key'))",
        "keys for signed segments (TCP_MD5SIG)",
    ),
    "a group": (
        "import struct; a = socket.create_server(('127.0.0.1', 0)); "
        "a.setsockopt(0, 42, struct.pack('=I4xHxxI120x', 1, socket.AF_INET, 0x020101e0))",
        "a member of the multicast group 224.1.1.2",
    ),
    "a group with a source": (
        "a = socket.create_server(('127.0.0.1', 0)); "
        "a.setsockopt(0, 39, bytes((224, 1, 1, 3, 127, 0, 0, 1, 127, 0, 0, 2)))",
        "a member of the multicast group 224.1.1.3",
    ),
    "a group of IPv6": (
        "import struct; a = socket.create_server(('::1', 0), family=socket.AF_INET6); "
        "a.setsockopt(41, 42, struct.pack('=I4xH6x16s104x', 1, socket.AF_INET6, socket.inet_pton(socket.AF_INET6, 'ff02::99:1')))",
        "a member of the multicast group ff02::99:1",
    ),
    "a lease": ("fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)", "holds a lease"),
    "a lock of a description": (
        "import struct; fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))",
        "fcntl lock",
    ),
    "a memfd": ("os.memfd_create('x')", "memfd"),
    "a pidfd": ("os.pidfd_open(os.getpid())", "pidfd"),
    "a pseudo-terminal's master": ("import pty; pty.openpty()", "controlling side of a pseudo-terminal"),
    "a file of /proc/PID": ("os.open('/proc/self/stat', os.O_RDONLY)", "/proc/PID"),
    "a namespace": ("os.open('/proc/self/ns/net', os.O_RDONLY)", "a namespace"),
    "a stale registration": (
        "r, w = os.pipe(); e = select.epoll(); e.register(r); os.dup(r); os.close(r)",
        "still watches a file whose descriptor",
    ),
    "an epoll that polls its devices": (
        "import struct; r, w = os.pipe(); e = select.epoll(); e.register(r); fcntl.ioctl(e, 0x40088A01, struct.pack('IHBB', 50, 8, 1, 0))",
        "it polls its devices itself (EPIOCSPARAMS)",
    ),
    "a message queue without a name": (QUEUE + "libc.mq_unlink(name)", "a POSIX message queue"),
    "a timerfd": ("import ctypes; ctypes.CDLL(None).timerfd_create(1, 0)", "timerfd"),
    "an inotify": ("import ctypes; ctypes.CDLL(None).inotify_init1(0)", "inotify"),
    "signals for another": (
        "import struct; r, w = os.pipe(); fcntl.fcntl(r, 15, struct.pack('ii', 1, os.getppid()))",
        "outside the tree",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LATE)
def test_what_the_freeze_shows_is_refused_by_name(tmp_path: Path, what: str) -> None:
    code, words = LATE[what]
    data = tmp_path / "data"
    data.write_text("content")
    with victim(code + "\nstay()\n", data) as pid, pytest.raises(RefusedError) as refused:
        write_layer(tmp_path / "layer", [pid])
    assert words in str(refused.value)


def test_a_message_queue_is_no_file(tmp_path: Path) -> None:
    """Its link is its name, which may be that of a file."""
    with victim(QUEUE + "stay()\n") as pid:
        try:
            with pytest.raises(RefusedError, match="a POSIX message queue: not supported yet"):
                write_layer(tmp_path / "layer", [pid])
            let_go(pid)
            assert "a POSIX message queue: not supported yet" in "".join(str(blocker) for blocker in examine(pid).blockers)
        finally:
            assert ctypes.CDLL(None).mq_unlink(b"/%d" % pid) == 0


# What makes a descriptor of a kind that no other test has, and the words for it. All in one program, as far as the kernel has them.
ODD = {
    "libc.syscall(289, -1, bytes(8), 8, 0)": "a signal descriptor (signalfd)",
    "libc.fanotify_init(0, 0)": "a fanotify group",
    "libc.syscall(425, 4, bytes(120))": "an io_uring",
    "libc.syscall(298, struct.pack('II104x', 1, 112), 0, -1, -1, 0)": "a performance counter (perf_event_open)",
    "libc.syscall(321, 0, struct.pack('IIII', 2, 4, 4, 1).ljust(72, bytes(1)), 72)": "a BPF object",
    "libc.syscall(447, 0)": "secret memory (memfd_secret)",
    "libc.syscall(444, struct.pack('QQQ', 2, 0, 0), 24, 0)": "a Landlock ruleset",
    "os.open('/dev/kvm', os.O_RDWR)": "a virtual machine (KVM)",
    "os.open('/dev/fuse', os.O_RDWR)": "a FUSE connection",
    "os.open('/dev/net/tun', os.O_RDWR)": "a network tunnel",
    "os.open('/dev/mem', os.O_RDONLY)": "the machine's memory",
    "os.open('/dev/kmsg', os.O_RDONLY)": "the kernel log",
    "os.open('/proc/self/ns/user', os.O_RDONLY)": "a namespace",
    "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).detach()": "a kernel crypto socket",
    "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).detach()": "a vsock socket",
    "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).detach()": "a raw socket",
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).detach()": "an MPTCP socket",
    "socket.socket().detach()": "a TCP socket, not bound",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 136).detach()": "UDP",
}


def test_all_that_no_kind_knows_is_named_at_once(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.touch()
    code = f"""
import ctypes, struct
libc = ctypes.CDLL(None)
with open(sys.argv[1], 'w') as made:
    for way in {list(ODD)!r}:
        try:
            fd = eval(way)
        except OSError:
            continue
        print(fd, way, file=made) if fd >= 0 else None
stay()
"""
    with victim(code, made) as pid, pytest.raises(RefusedError) as refused:
        write_layer(tmp_path / "layer", [pid])
    ways = dict(line.split(" ", 1) for line in made.read_text().splitlines())
    assert len(ways) >= 8
    told = {blocker.obj.split()[1]: str(blocker) for blocker in refused.value.blockers}
    assert {way: told.get(fd) for fd, way in ways.items() if ODD[way] not in told.get(fd, "")} == {}


def test_a_userfaultfd_of_lamina_is_left_out_and_any_other_refused(tmp_path: Path) -> None:
    from lamina.core.objects import capture as descriptors

    code = "import ctypes\nfd = ctypes.CDLL(None).syscall(323, 0o2000000 | 1)\nassert fd >= 0\nstay()\n"
    with victim(code) as pid:
        ino = os.stat(f"/proc/{pid}/fd/3").st_ino
        with descriptors.capture([pid], DESCRIPTORS, {ino}) as captured:
            captured.refuse("cannot dump", "it")
            assert [slot.fd for slot in captured.tables[pid]] == [0, 1, 2]
        with descriptors.capture([pid], DESCRIPTORS, {ino + 1}) as captured, pytest.raises(RefusedError, match="userfaultfd"):
            captured.refuse("cannot dump", "it")


def test_files_that_changed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("content")
    with victim("os.open(sys.argv[1], os.O_RDWR)\nstay()\n", data) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
    assert plan_descriptions(layer, DESCRIPTORS) == []
    data.write_text("CONTENT")
    os.utime(data, (1, 1))
    assert plan_descriptions(layer, DESCRIPTORS) == [], "content and times of the same size refuse nothing"
    data.write_text("content, and more")
    assert "has 17 bytes, and had 7" in str(plan_descriptions(layer, DESCRIPTORS)[0])
    data.unlink()
    assert "is not there" in str(plan_descriptions(layer, DESCRIPTORS)[0])
    with pytest.raises(RefusedError, match="is not there"):
        open_descriptions(layer, DESCRIPTORS)
    data.mkdir()
    assert "not the kind of file" in str(plan_descriptions(layer, DESCRIPTORS)[0])
    data.rmdir()
    os.mkfifo(data)
    assert "not the kind of file" in str(plan_descriptions(layer, DESCRIPTORS)[0])


def test_a_taken_port_names_its_holder(tmp_path: Path) -> None:
    with victim("s = socket.create_server(('127.0.0.1', 0))\nstay()\n") as pid:
        layer = write_layer(tmp_path / "layer", [pid])
        # The program itself is still there.
        blockers = plan_descriptions(layer, DESCRIPTORS)
        assert f"process {pid}" in str(blockers[0])
        assert plan_descriptions(layer, DESCRIPTORS, OpenOptions(ending=frozenset({pid}))) == []
    assert plan_descriptions(layer, DESCRIPTORS) == []
    port = next(entry.isk.src_port for entry in layer.files.values() if entry.HasField("isk"))
    with socket.create_server(("127.0.0.1", port)):
        blockers = plan_descriptions(layer, DESCRIPTORS)
        assert blockers[0].obj == f"port {port}"
        assert f"process {os.getpid()}" in blockers[0].why
        with pytest.raises(RefusedError, match=f"port {port}"):
            open_descriptions(layer, DESCRIPTORS)


def test_a_port_still_closing_does_not_hinder(tmp_path: Path) -> None:
    code = """
s = socket.create_server(('127.0.0.1', int(sys.argv[1])))
a = socket.create_connection(s.getsockname()); b, _ = s.accept(); b.close(); a.close()
stay()
"""
    with victim(code, 0) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
    assert plan_descriptions(layer, DESCRIPTORS) == []
    open_descriptions(layer, DESCRIPTORS).close_all()


def test_damaged_tables(tmp_path: Path) -> None:
    with victim("r, w = os.pipe(); e = select.epoll(); e.register(r, 1)\nstay()\n") as pid:
        layer = write_layer(tmp_path / "layer", [pid])
    good = list(layer.fdinfo(2))

    def with_table(entries: list[fdinfo_entry]) -> Layer:
        (layer.directory / "fdinfo-2.img").write_bytes(encode_image("fdinfo", entries))
        return Layer(layer.directory)

    with pytest.raises(ImageError, match="lacks file 4711"):
        plan_descriptions(with_table([*good, fdinfo_entry(id=4711, flags=0, type=fd_types.REG, fd=50)]), DESCRIPTORS)
    with pytest.raises(ImageError, match="twice"):
        plan_descriptions(with_table([*good, good[0]]), DESCRIPTORS)
    with pytest.raises(ImageError, match="twice"):
        plan_descriptions(with_table([*good, fdinfo_entry(id=1, flags=0, type=fd_types.REG, fd=2**31)]), DESCRIPTORS)
    with pytest.raises(ImageError, match="no task has"):
        plan_descriptions(with_table([entry for entry in good if entry.fd != 3]), DESCRIPTORS)
    assert plan_descriptions(with_table(good), DESCRIPTORS) == []


def test_paths_of_tasks_share_an_id_and_know_their_build(tmp_path: Path) -> None:
    table = FileTable()
    first = table.path("/bin/sh")
    assert table.path("/bin/sh") == first
    assert table.path("/bin/sh", os.O_RDWR) != first
    assert path_reader({entry.id: entry for entry in table.entries})(first) == "/bin/sh"
    entry = table.entries[0].reg
    assert entry.size == Path("/bin/sh").stat().st_size
    assert len(entry.build_id) == 5
    assert changed(entry) is None
    entry.build_id[0] ^= 1
    assert "another build" in str(changed(entry))
    entry.name = b"bin/sh"
    assert path_of(entry) == "/bin/sh"
