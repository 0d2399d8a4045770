"""Queues of unix sockets, read by a process apart from lamina: what is found, what is left as it was, whatever kills lamina."""

import array
import os
import resource
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, new_error
from lamina.core.kinds.sockets import unix_queue
from lamina.core.kinds.sockets.unix_queue import Message
from tests.live.harness import full

BORDERS = (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
SO_PEEK_OFF = 42


def read(sock: socket.socket) -> tuple[Message, ...]:
    """The queue; its descriptors are closed."""
    (found,) = unix_queue.read([(sock.fileno(), sock.type == socket.SOCK_STREAM)])
    for message in found:
        for fd in message.fds:
            os.close(fd)
    return found


def contents(sock: socket.socket) -> list[tuple[bytes, int]]:
    return [(message.content, len(message.fds)) for message in read(sock)]


def test_of_a_stream_bytes_before_descriptors_stand_alone() -> None:
    ours, other = socket.socketpair()
    with ours, other:
        for part in (b"a", b"bc"):
            ours.send(part)
        socket.send_fds(ours, [b"DE"], [0, 1])
        socket.send_fds(ours, [b"F"], [2])
        ours.send(b"g")
        socket.send_fds(ours, [b"H" * 70_000], [2])
        for _ in range(2):
            found = contents(other)
            assert found[:4] == [(b"abc", 0), (b"DE", 2), (b"F", 1), (b"g", 0)]
            # A large message is several of the kernel's, of which the first has the descriptors.
            assert [count for _, count in found[4:]][:1] == [1] and b"".join(content for content, _ in found[4:]) == b"H" * 70_000
        assert other.recv(100) == b"abcDE"


@pytest.mark.parametrize("kind", BORDERS)
def test_borders_are_kept_and_large_messages_fit(kind: int) -> None:
    ours, other = socket.socketpair(socket.AF_UNIX, kind)
    with ours, other:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        sent = [b"", b"1", b"2" * 700_000, b"", b"3" * 262_144, b"4"]
        for part in sent:
            ours.send(part)
        assert [content for content, _ in contents(other)] == sent


@pytest.mark.parametrize("kind", (socket.SOCK_STREAM, *BORDERS))
def test_nothing_is_consumed_and_options_are_put_back(kind: int) -> None:
    ours, other = socket.socketpair(socket.AF_UNIX, kind)
    with ours, other:
        other.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 3)
        socket.send_fds(ours, [b"hello"], [0])
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            assert contents(other) == [(b"hello", 1)]
        assert len(os.listdir("/proc/self/fd")) == before
        assert (other.getsockopt(socket.SOL_SOCKET, SO_PEEK_OFF), other.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)) == (3, 0)
        content, fds, _, _ = socket.recv_fds(other, 10, 4)
        assert (content, len(fds)) == (b"hello", 1)
        os.close(fds[0])


def test_descriptors_without_room_are_an_error() -> None:
    ours, other = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ours, other:
        socket.send_fds(ours, [b"many"], [0] * 50)
        before = sorted(os.listdir("/proc/self/fd"))
        free = [number for number in range(10_000) if str(number) not in before]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[10], hard))
        try:
            with pytest.raises(NativeError, match="do not fit"):
                read(other)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sorted(os.listdir("/proc/self/fd")) == before
        assert contents(other) == [(b"many", 50)]


# Reads again and again until it is killed.
READER = """
import os, sys
from lamina.core.kinds.sockets import unix_queue
print("ready", flush=True)
while True:
    for message in unix_queue.read([(int(sys.argv[1]), True)])[0]:
        for fd in message.fds:
            os.close(fd)
"""


def test_a_reader_that_is_killed_leaves_the_socket_as_it_was() -> None:
    ours, other = socket.socketpair()
    with ours, other:
        other.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 2)
        for n in range(200):
            socket.send_fds(ours, [b"%d" % n], [0]) if n % 10 == 0 else ours.send(b"%d" % n)
        for _ in range(full(100, 2)):
            command = [sys.executable, "-c", READER, str(other.fileno())]
            process = subprocess.Popen(command, pass_fds=[other.fileno()], stdout=subprocess.PIPE)
            assert process.stdout and process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGKILL)
            process.stdout.read()  # to the end: the process apart has ended, too
            process.wait()
            process.stdout.close()
            state = [other.getsockopt(socket.SOL_SOCKET, option) for option in (SO_PEEK_OFF, socket.SO_PASSCRED)]
            assert state == [2, 0]


def test_a_stand_in_has_the_number_until_it_is_waited_for() -> None:
    free = next(pid for pid in range(unix_queue.pid_limit() - 1, 1, -1) if not os.path.exists(f"/proc/{pid}"))
    err: Any = new_error()
    check(C.lm_stand_in(free, err), err)
    ours, other = socket.socketpair()
    with ours, other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, array.array("i", [free, 0, 0]))])
        assert os.waitpid(free, 0x40000000) == (free, 0)
        assert read(other)[0].sender == (free, 0, 0)
    with pytest.raises(NativeError, match="no process of that number"):
        check(C.lm_stand_in(os.getpid(), err), err)
