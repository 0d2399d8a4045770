"""python_worker.py DIR: CPython with eight threads that each have something a checkpoint can lose.

Four threads run hash chains; one writes a file line by line; two are the ends of a pipe; one talks to a subprocess through pipes.
Signal handlers count an interval timer and SIGUSR1, which the main thread sends itself.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any

from control import Chain, Control

ECHO = "import sys\nfor line in sys.stdin:\n    print(int(line) * 3 + 1, flush=True)\n"


class Worker:
    def __init__(self, directory: str) -> None:
        self.control = Control(directory)
        self.chains = [Chain(f"chain {n}") for n in range(4)]
        self.log = open(os.path.join(directory, "worker.log"), "w")  # noqa: SIM115 -- open for life
        self.lines = 0
        self.pipe_read, self.pipe_write = os.pipe()
        self.sent = self.received = self.out_of_order = 0
        self.child = subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.talks = self.wrong_answers = 0
        self.alarms = self.users = 0
        self.parked = [False] * 8
        self.talk()  # the child has started once it has answered: only then does the program look from outside as it will

    def loop(self, number: int, step: Any) -> None:
        while True:
            if self.control.held():
                self.parked[number] = True
                self.control.park()
                self.parked[number] = False
            step()

    def chain_step(self, chain: Chain) -> None:
        chain.step()
        time.sleep(0.001)

    def write_line(self) -> None:
        self.lines += 1
        self.log.write(f"line {self.lines}\n")
        self.log.flush()
        time.sleep(0.002)

    def send(self) -> None:
        os.write(self.pipe_write, (self.sent % 251).to_bytes(1, "big"))
        self.sent += 1
        time.sleep(0.001)

    def receive(self) -> None:
        # Waits in read(2): when the sender is parked, so is this one.
        got = os.read(self.pipe_read, 1)[0]
        self.out_of_order += got != self.received % 251
        self.received += 1

    def talk(self) -> None:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(f"{self.talks}\n")
        self.child.stdin.flush()
        self.wrong_answers += int(self.child.stdout.readline()) != self.talks * 3 + 1
        self.talks += 1
        time.sleep(0.002)

    def on_alarm(self, _number: int, _frame: object) -> None:
        self.alarms += 1

    def on_user(self, _number: int, _frame: object) -> None:
        self.users += 1

    def state(self) -> dict[str, Any]:
        return {
            "chains": [chain.state() for chain in self.chains],
            "lines": self.lines, "log_at": os.lseek(self.log.fileno(), 0, os.SEEK_CUR),
            "sent": self.sent, "received": self.received, "out_of_order": self.out_of_order,
            "talks": self.talks, "wrong_answers": self.wrong_answers, "child": self.child.pid, "child_alive": self.child.poll() is None,
            "alarms": self.alarms, "users": self.users, "timer": list(signal.getitimer(signal.ITIMER_REAL))[1],
            "handlers": [signal.getsignal(s) == h for s, h in ((signal.SIGALRM, self.on_alarm), (signal.SIGUSR1, self.on_user))],
            "threads": threading.active_count(),
        }  # fmt: skip

    def run(self) -> None:
        signal.signal(signal.SIGALRM, self.on_alarm)
        signal.signal(signal.SIGUSR1, self.on_user)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        steps = [partial(self.chain_step, chain) for chain in self.chains] + [self.write_line, self.send, self.receive, self.talk]
        for number, step in enumerate(steps):
            threading.Thread(target=self.loop, args=(number, step), daemon=True).start()
        while True:
            question = self.control.question()
            if question == "parked":
                # The reader of the pipe is parked by its empty pipe.
                while not all(parked for n, parked in enumerate(self.parked) if n != 6) or self.sent != self.received:
                    time.sleep(0.002)
                self.control.reply({})
            elif question is not None:
                self.control.reply(self.state())
            if not self.control.held():
                os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.002)


if __name__ == "__main__":
    Worker(sys.argv[1]).run()
