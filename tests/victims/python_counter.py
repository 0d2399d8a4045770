"""python_counter.py DIR [SHOW]: CPython with one thread; a hash chain and a dictionary of what it was at every step.

With SHOW it prints its steps to standard output: for a program in a terminal. Ctrl-C ends it with status 7.
"""

import signal
import sys
import time
from typing import NoReturn

from control import Chain, Control


def leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(7)


def main() -> None:
    control = Control(sys.argv[1])
    show = len(sys.argv) > 2
    signal.signal(signal.SIGINT, leave)
    chain = Chain("counter")
    past: dict[int, str] = {}
    while True:
        question = control.question()
        if question is not None:
            wrong = sum(past[n] != Chain.digest_of("counter", n)[:16] for n in (1, chain.steps // 2, chain.steps) if n in past)
            control.reply({"chains": [chain.state()], "past": len(past), "wrong": wrong})
        if not control.held():
            chain.step()
            past[chain.steps] = chain.digest.hex()[:16]
            if show:
                print(f"step {chain.steps}", flush=True)
        time.sleep(0.001 if not show else 0.05)


if __name__ == "__main__":
    main()
