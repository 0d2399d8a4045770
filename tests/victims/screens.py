"""A full-screen program: writes a stream of text and control sequences drawn by lot, the same into its terminal and into a file.

`screens.py SEED DIRECTORY`. SIGUSR1: stop after this piece and say in DIRECTORY/paused how many bytes were written; SIGUSR2: go on.
"""

import os
import random
import signal
import sys
import tty
from contextlib import suppress
from pathlib import Path

PIECES = [
    b"\x1b[2J\x1b[H",
    b"\x1b[?1049h\x1b[H", b"\x1b[?1049l", b"\x1b[3;9r", b"\x1b[r", b"\x1b[31;1m", b"\x1b[48;5;208m", b"\x1b[7m", b"\x1b[0m",
    b"\r\n", b"\r\n", b"\n", b"\t", b"\x1b[L", b"\x1b[M", b"\x1b[2P", b"\x1b[3@", b"\x1b[K", b"\x1b7", b"\x1b8", b"\x1b[?25l", b"\x1b[?25h",
    b"\x1bM", "漢字 ".encode(), "é❤️".encode(), b"\x1b[?7l", b"\x1b[?7h", b"\x1b]0;title\x07", b"\x1b[?1h", b"\x1bH", b"\x1b[6n",
]  # fmt: skip


def main() -> None:
    seed, directory = int(sys.argv[1]), Path(sys.argv[2])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
    tty.setraw(0)
    os.set_blocking(0, False)
    dice, written = random.Random(seed), 0
    log = os.open(directory / "written", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    answers = os.open(directory / "answers", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    asked = 0
    while True:
        piece = b"".join(dice.choice(PIECES) if dice.random() < 0.4 else b"%d word " % dice.randrange(1 << 20) for _ in range(20))
        piece = b"\x1b[%d;%dH" % (dice.randrange(1, 20), dice.randrange(1, 60)) + piece
        if dice.random() < 0.02:
            piece *= 200
        asked += piece.count(b"\x1b[6n")
        # Cut anywhere, as writes are.
        at = dice.randrange(len(piece))
        for part in (piece[:at], piece[at:]):
            write(part, log)
        written += len(piece)
        if signal.sigtimedwait([signal.SIGUSR1], dice.random() * 0.1):
            draft = directory / "draft"
            draft.write_text(f"{written} {asked}")
            draft.rename(directory / "paused")
            while not signal.sigtimedwait([signal.SIGUSR2], 0.01):
                take(answers)
        take(answers)


def write(part: bytes, log: int) -> None:
    left = part
    while left:
        try:
            done = os.write(1, left)
        except BlockingIOError:
            signal.sigtimedwait([], 0.002)
            continue
        os.write(log, left[:done])
        left = left[done:]


def take(answers: int) -> None:
    """What was typed, which are answers."""
    with suppress(BlockingIOError):
        os.write(answers, os.read(0, 4096))


if __name__ == "__main__":
    main()
