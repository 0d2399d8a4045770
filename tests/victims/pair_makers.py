"""pair_makers DIR: has socket pairs that others made: its child as another user, and a process that has ended. state: whom they name."""

import os
import socket
import struct
import sys
import time

from control import Control


def maker(sock: socket.socket) -> list[object]:
    """SO_PEERCRED, SO_PEERGROUPS."""
    groups = struct.iter_unpack("=I", sock.getsockopt(socket.SOL_SOCKET, 59, 1024))
    return [*struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, 17, 12)), sorted(group for (group,) in groups)]


def made_by(end: bool, link: tuple[socket.socket, socket.socket]) -> tuple[int, socket.socket, socket.socket]:
    """A child as another user makes a pair, sends it, and ends or stays."""
    pid = os.fork()
    if not pid:
        os.setgroups([77, 99])
        os.setresgid(-1, 4321, -1)
        os.setresuid(-1, 1234, -1)
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(link[1], [b"."], [each.fileno() for each in pair])
        os.setresuid(-1, 0, -1)
        if end:
            os._exit(0)
        for each in (*pair, *link):
            each.close()
        while True:
            time.sleep(0.01)
    fds = socket.recv_fds(link[0], 1, 2)[1]
    if end:
        os.waitpid(pid, 0)
    return pid, *(socket.socket(fileno=fd) for fd in fds)


def main() -> None:
    control = Control(sys.argv[1])
    link = socket.socketpair()
    own = socket.socketpair()
    child, *theirs = made_by(False, link)
    _, *ended = made_by(True, link)
    while True:
        if control.question() is not None:
            for one, other in (own, theirs):
                one.send(b"works")
                assert other.recv(5) == b"works"
            control.reply(
                {
                    "pid": os.getpid(),
                    "child": child,
                    "by us": maker(own[1]),
                    "by a child": maker(theirs[0]),
                    "by a child, other end": maker(theirs[1]),
                    "by a grandchild that has ended": maker(ended[0]),
                }
            )
        time.sleep(0.002)


main()
