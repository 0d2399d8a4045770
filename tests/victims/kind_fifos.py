"""kind_fifos DIR: a parent and a child that talk through named pipes, and look whether theirs are still as they were.

The parent writes a chain of digests into one, and keeps a few of them waiting; the child compares each with its own chain, and sends back
how many it has seen through another, which both have open for reading and writing. While they are held some wait. state: the chain, and
what is wrong ("").
"""

import fcntl
import os
import select
import sys
import time

from control import Chain, Control

STEP = 32
AHEAD = 4
WAITING = b"waiting " * 1000


def made(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        os.mkfifo(path)
    return path


def child(control: Control, numbers: int, seen: int) -> None:
    chain = Chain("fifos")
    while True:
        control.park()
        part = os.read(numbers, STEP)
        while 0 < len(part) < STEP:
            part += os.read(numbers, STEP - len(part))
        chain.step()
        if part != chain.digest:
            os._exit(3)
        os.write(seen, b".")


def hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class Others:
    """FIFOs that nobody uses, each in a state of its own."""

    def __init__(self, directory: str) -> None:
        self.full = os.open(made(directory, "full"), os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.full, fcntl.F_SETPIPE_SZ, 1 << 18)
        os.write(self.full, WAITING)
        self.reader = os.open(made(directory, "full"), os.O_RDONLY)
        self.lonely = os.open(made(directory, "lonely"), os.O_RDONLY | os.O_NONBLOCK)
        self.left = os.open(made(directory, "left"), os.O_RDONLY | os.O_NONBLOCK)
        os.close(os.open(made(directory, "left"), os.O_WRONLY))
        self.path = os.open(made(directory, "left"), os.O_PATH)
        self.again = os.dup(self.full)

    def wrong(self) -> str:
        fcntl.fcntl(self.again, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
        shared = fcntl.fcntl(self.full, fcntl.F_GETFL) & os.O_APPEND
        fcntl.fcntl(self.again, fcntl.F_SETFL, os.O_NONBLOCK)
        checks = {
            "size": fcntl.fcntl(self.full, fcntl.F_GETPIPE_SZ) == 1 << 18,
            "content": os.read(self.reader, 1 << 18) == WAITING,
            "no writer yet": not hung_up(self.lonely),
            "writer gone": hung_up(self.left),
            "no flags": not fcntl.fcntl(self.reader, fcntl.F_GETFL) & os.O_NONBLOCK,
            "path": fcntl.fcntl(self.path, fcntl.F_GETFL) & os.O_PATH,
            "shared": shared,
        }
        os.write(self.full, WAITING)
        return ", ".join(name for name, holds in checks.items() if not holds)


def main() -> None:
    directory = sys.argv[1]
    control = Control(directory)
    numbers, seen = made(directory, "numbers"), os.open(made(directory, "seen"), os.O_RDWR)
    reader = os.open(numbers, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    writer = os.open(numbers, os.O_WRONLY)
    pid = os.fork()
    if not pid:
        os.close(writer)
        child(control, reader, seen)
    os.close(reader)
    others = Others(directory)
    chain, told = Chain("fifos"), 0
    while True:
        while chain.steps - told < AHEAD and not control.held():
            chain.step()
            os.write(writer, chain.digest)
        if select.select([seen], [], [], 0.002)[0]:
            told += len(os.read(seen, AHEAD))
        if control.question() is not None:
            control.reply(chain.state() | {"wrong": others.wrong()})
        if os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit("the child saw something else")
        if control.held():
            time.sleep(0.002)


if __name__ == "__main__":
    main()
