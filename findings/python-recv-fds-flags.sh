#!/bin/sh
# CPython 3.9 to 3.13: socket.recv_fds(sock, bufsize, maxfds, flags) does not pass its flags on.
#
# The documentation describes the parameter, and nothing is said if it is given. MSG_PEEK consumes, MSG_DONTWAIT blocks, MSG_CMSG_CLOEXEC
# changes nothing.
#
# Seen on 3.11.7 and 3.13.5: recv_fds(receiver, 10, 1, socket.MSG_PEEK) gives the message, and the queue is empty then.
set -eu
python3 - <<'PYTHON'
import os, socket, sys

sender, receiver = socket.socketpair()
socket.send_fds(sender, [b"message"], [0])
content, fds, _, _ = socket.recv_fds(receiver, 10, 1, socket.MSG_PEEK)
os.close(fds[0])
try:
    left = receiver.recv(10, socket.MSG_DONTWAIT)
except BlockingIOError:
    left = b""
print(sys.version.split()[0], content, left)
assert (content, left) == (b"message", b"")
PYTHON
