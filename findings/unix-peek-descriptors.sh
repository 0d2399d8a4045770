#!/bin/sh
# Linux 6.18, unix stream sockets: MSG_PEEK of one byte brings the descriptors (SCM_RIGHTS) of a later message.
#
# recv without MSG_PEEK gives descriptors with the bytes they were sent with. A look of N bytes goes on through the queue with no room left
# until it has met descriptors (unix_stream_read_generic), so they come with whatever bytes were asked for, and nothing tells which they
# belong to. Whoever peeks at a queue to send it again, as checkpointing does, attaches them to the bytes before: a reader that takes a
# header of its exact length first then loses them. What tells the border: a look whose last byte cannot be written (EFAULT) ends before the
# message that byte belongs to.
#
# Seen: peek 1 -> b'h' with 1 descriptor; read 6 -> b'header' with none; read 4 -> b'body' with 1.
set -eu
python3 - <<'PYTHON'
import array, os, socket

sender, receiver = socket.socketpair()
sender.send(b"header")
socket.send_fds(sender, [b"body"], [0])

def take(size, flags=0):
    content, parts, _, _ = receiver.recvmsg(size, 64, flags)
    fds = array.array("i", b"".join(data for _, _, data in parts))
    for fd in fds:
        os.close(fd)
    return content, len(fds)

found = [take(1, socket.MSG_PEEK), take(6), take(4)]
print(os.uname().release, found)
assert found == [(b"h", 1), (b"header", 0), (b"body", 1)]
PYTHON
