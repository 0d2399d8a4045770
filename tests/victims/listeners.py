"""listeners DIR: listening sockets with an unusual value of every option that DIR/options names, as [[name, level, number, size], …].

state: name → its value as hex digits, of each socket; unusual: the names of those that could be set to something unusual here.
"""

import json
import socket
import sys
import time
from pathlib import Path

from control import Control

# In turn, until one changes something. Of 2.3 and more bytes: two port numbers, a routing header would need an address of the machine.
NUMBERS = (1, 2, 0, 5, 60, 1300, 65536, 200_000, 20_000 << 16 | 10_000)
BYTES = ("72656e6f", "01010101", "0000000000000000", "00" * 16)


def made(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    sock.listen(5)
    return sock


def value(sock: socket.socket, level: int, number: int, size: int) -> str | None:
    try:
        return sock.getsockopt(level, number, size or 1024).hex()
    except OSError:
        return None


def make_unusual(sock: socket.socket, level: int, number: int, size: int) -> bool:
    usual = value(sock, level, number, size)
    for tried in NUMBERS if size else BYTES:
        try:
            raw = tried.to_bytes(size, "little") if isinstance(tried, int) else bytes.fromhex(tried)
            sock.setsockopt(level, number, raw)
        except OSError:
            continue
        if value(sock, level, number, size) != usual:
            return True
    return False


def main() -> None:
    directory = Path(sys.argv[1])
    control = Control(sys.argv[1])
    options = json.loads((directory / "options").read_text())
    # Every second option on a socket of its own: some take each other back.
    sockets = [made(family) for family in (socket.AF_INET, socket.AF_INET6) for _ in range(2)]
    unusual = set()
    for index, (name, *where) in enumerate(options):
        unusual |= {name for at, sock in enumerate(sockets) if index % 2 == at % 2 and make_unusual(sock, *where)}
    while True:
        question = control.question()
        if question == "unusual":
            control.reply(sorted(unusual))
        elif question is not None:
            control.reply([{name: value(sock, *where) for name, *where in options} for sock in sockets])
        time.sleep(0.002)


if __name__ == "__main__":
    main()
