"""Emulates a terminal while no lamina shows it: for a holder that has kept much, or whose program waits for an answer of its terminal.

`python -m …`, with the connection as standard input. It ends when nothing was written for a while, or when somebody else looks.
"""

import os
import socket
import time

from lamina.tui.terminal.attachment import Attachment, Ended, Gone, Taken
from lamina.tui.terminal.follower import Follower

_IDLE_S = 3.0


def main() -> None:
    """Follow until it is quiet. Half of the time at most: a program that writes without end is slowed down as on the screen."""
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
