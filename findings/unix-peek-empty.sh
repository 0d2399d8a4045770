#!/bin/sh
# Linux 6.18, unix datagram and seqpacket sockets: an empty message is seen once by MSG_PEEK with SO_PEEK_OFF, and never again.
#
# A look marks an empty message (skb->peeked, net/core/datagram.c), and a later look at an offset passes over it, also from offset 0, also
# by another process with a copy of the descriptor. So looking twice at the same queue gives two answers; the second misses a message that
# recv still delivers. A tool that saves queues in that way, as criu does, loses the message from its second save on.
#
# Seen: first look [b'a', b'', b'b'], second look [b'a', b'b'], then recv [b'a', b'', b'b'].
set -eu
python3 - <<'PYTHON'
import os, socket

SO_PEEK_OFF = 42
for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    sender, receiver = socket.socketpair(socket.AF_UNIX, kind)
    for message in (b"a", b"", b"b"):
        sender.send(message)

    def take(flags):
        found = []
        try:
            while True:
                found.append(receiver.recv(10, flags | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return found

    looks = []
    for _ in range(2):
        receiver.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        looks.append(take(socket.MSG_PEEK))
    read = take(0)
    print(os.uname().release, kind.name, looks, read)
    assert looks == [[b"a", b"", b"b"], [b"a", b"b"]] and read == [b"a", b"", b"b"]
PYTHON
