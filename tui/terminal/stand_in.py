"""Emulates a terminal while no lamina is attached: for a holder that has much output, or whose program waits for an answer of the terminal.

`python -m …`, with the connection as standard input. It ends when nothing was written for a while, or when a lamina attaches.
"""

import os
import socket
import time

from lamina.tui.terminal.attachment import Attachment, Ended, Gone, Taken
from lamina.tui.terminal.follower import Follower

_IDLE_S = 3.0


def main() -> None:
    """Emulate until nothing is written. It sleeps half of the time, so that a program that never stops writing is slowed down."""
    line = Attachment(socket.socket(fileno=os.dup(0)), blocking=True)
    follower = Follower(line)
    while line.wait(_IDLE_S):
        began = time.monotonic()
        event = follower.take()
        if isinstance(event, Gone | Taken):
            return
        if isinstance(event, Ended):
            break
        time.sleep(time.monotonic() - began)
    follower.keep()
    line.close()


if __name__ == "__main__":
    main()
