"""kind_socket_pairs DIR: a parent and a child that talk through socket pairs of each type, and look whether theirs are still as they were.

Each type carries a chain of digests from the parent to the child, a few of them waiting, the border of each message checked where there
are borders; the child sends back how far it is, and its own end of a new pair now and then. state: the chain, and what is wrong ("").
"""

import array
import os
import select
import socket
import struct
import sys
import time

from control import Chain, Control

TYPES = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
STEP = 32
AHEAD = 4
UCRED = struct.Struct("=iII")
SO_PEERCRED, SO_PEEK_OFF, SO_PASSCRED = 17, 42, 16
LARGE = bytes(range(256)) * 300


def receive(sock: socket.socket, size: int) -> bytes:
    part = sock.recv(size)
    while sock.type == socket.SOCK_STREAM and 0 < len(part) < size:
        part += sock.recv(size - len(part))
    return part


def child(control: Control, links: list[socket.socket]) -> None:
    chain = Chain("socket pairs")
    while True:
        control.park()
        chain.step()
        for link in links:
            if receive(link, STEP) != chain.digest:
                os._exit(3)
        links[0].send(b".")


def message(sock: socket.socket, size: int = 1 << 17) -> tuple[bytes, list[int], tuple[int, ...]]:
    """Content, descriptors, sender."""
    content, parts, _, _ = sock.recvmsg(size, 4096, socket.MSG_DONTWAIT)
    fds, sender = array.array("i"), ()
    for _, kind, data in parts:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(data)
        else:
            sender = UCRED.unpack(data)
    return content, list(fds), sender


def drained(sock: socket.socket) -> list[bytes]:
    found = []
    try:
        while len(found) < 10:
            found.append(message(sock)[0])
    except OSError:
        pass
    return found


class Others:
    """Sockets that nobody uses, each in a state of its own."""

    def __init__(self) -> None:
        self.full = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
        self.named = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
        self.gone = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
        self.shut = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
        self.alone = [socket.socket(socket.AF_UNIX, kind) for kind in TYPES]
        self.flight = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
        for ours, _ in self.full:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for ours, _ in self.named:
            ours.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        for ours, other in self.gone:
            other.send(b"last words")
            other.close()
            ours.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        for ours, other in self.shut:
            other.send(b"behind")
            other.shutdown(socket.SHUT_WR)
            ours.setblocking(False)
            ours.settimeout(None)
        self.mortal = os.getpid()
        self.load()

    def load(self) -> None:
        for ours, other in self.full:
            ours.sendall(LARGE)
            other.send(b"short")
            if other.type != socket.SOCK_STREAM:
                ours.send(b"")
            ours.send(b"end")
        pid = os.fork()
        if not pid:
            for _, other in self.named:
                other.send(b"from one who has ended")
            os._exit(0)
        os.waitpid(pid, 0)
        self.mortal = pid
        for _, other in self.named:
            other.send(b"from here")
        for ours, other in self.flight:
            reading, writing = os.pipe()
            os.write(writing, b"in a pipe that only a queue has")
            one, two = socket.socketpair()
            one.send(b"in a pair that only a queue has")
            # Each holds itself and the other.
            socket.send_fds(one, [b"both"], [one.fileno(), two.fileno()])
            ours.send(b"plain")
            socket.send_fds(ours, [b"ends"], [reading, writing, one.fileno(), two.fileno(), other.fileno()])
            os.close(reading)
            os.close(writing)
            one.close()
            two.close()

    def wrong(self) -> str:
        us = (os.getpid(), os.getuid(), os.getgid())
        checks = {}
        for kind, (ours, other) in zip(TYPES, self.full, strict=True):
            borders = kind != socket.SOCK_STREAM
            expected = [LARGE, b"", b"end"] if borders else [LARGE + b"end"]
            checks[f"full {kind}"] = drained(other) == expected and drained(ours) == [b"short"]
            checks[f"maker {kind}"] = UCRED.unpack(other.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, UCRED.size)) == us
            checks[f"size {kind}"] = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 << 20 > other.getsockopt(1, socket.SO_SNDBUF)
        for kind, (ours, _) in zip(TYPES, self.named, strict=True):
            first, second = message(ours, 22), message(ours)
            checks[f"ended {kind}"] = first == (b"from one who has ended", [], (self.mortal, *us[1:]))
            checks[f"sender {kind}"] = second == (b"from here", [], us)
        for kind, (ours, _) in zip(TYPES, self.gone, strict=True):
            ours.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
            peeked = ours.recv(4, socket.MSG_PEEK) + ours.recv(100, socket.MSG_PEEK)
            checks[f"gone {kind}"] = peeked == b"last words"
            if kind == socket.SOCK_DGRAM:
                ours.getpeername()  # to send would empty the queue
                continue
            try:
                ours.send(b"?", socket.MSG_NOSIGNAL)
                checks[f"deaf {kind}"] = False
            except BrokenPipeError:
                pass
        for kind, (ours, other) in zip(TYPES, self.shut, strict=True):
            checks[f"behind {kind}"] = ours.recv(100, socket.MSG_PEEK) == b"behind"
            try:
                other.send(b"?", socket.MSG_NOSIGNAL)
                checks[f"shut {kind}"] = False
            except BrokenPipeError:
                pass
        for kind, sock in zip(TYPES, self.alone, strict=True):
            checks[f"alone {kind}"] = sock.type == kind
        for kind, (_, other) in zip(TYPES, self.flight, strict=True):
            checks[f"plain {kind}"] = other.recv(5) == b"plain"
            content, fds, _ = message(other)
            checks[f"flight {kind}"] = content == b"ends" and len(fds) == 5
            reading, writing, one, two, same = fds
            os.close(writing)
            checks[f"pipe {kind}"] = os.read(reading, 100) + os.read(reading, 1) == b"in a pipe that only a queue has"
            with socket.socket(fileno=one), socket.socket(fileno=two) as end:
                checks[f"queue {kind}"] = end.recv(31) == b"in a pair that only a queue has"
                content, inner, _ = message(end)
                checks[f"cycle {kind}"] = [os.fstat(fd).st_ino for fd in inner] == [os.fstat(fd).st_ino for fd in (one, two)]
            checks[f"same {kind}"] = os.fstat(same).st_ino == os.fstat(other.fileno()).st_ino
            for fd in (reading, same, *inner):
                os.close(fd)
        self.load()
        return ", ".join(name for name, holds in checks.items() if not holds)


def main() -> None:
    control = Control(sys.argv[1])
    pairs = [socket.socketpair(socket.AF_UNIX, kind) for kind in TYPES]
    if not os.fork():
        for ours, _ in pairs:
            ours.close()
        child(control, [theirs for _, theirs in pairs])
    links = [ours for ours, _ in pairs]
    for _, theirs in pairs:
        theirs.close()
    others = Others()
    chain, ahead = Chain("socket pairs"), 0
    while True:
        if control.held():
            # Until the child has stopped as well.
            time.sleep(0.01)
        while ahead < AHEAD and not control.held():
            chain.step()
            for link in links:
                link.sendall(chain.digest)
            ahead += 1
        # The child may have been parked before it answers.
        if not control.held() and select.select(links[:1], [], [], 0.002)[0]:
            ahead -= len(links[0].recv(AHEAD))
        if control.question() == "state":
            control.reply(chain.state() | {"wrong": others.wrong()})


main()
