"""The programs of the live tests, each with what its state is, how it is moved on, and how one knows that it still works."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.live.harness import PATIENCE_S, Reaper, Victim, build, start, start_c, start_python
from tests.victims.control import Chain

State = dict[str, Any]


@dataclass
class Program:
    """A program under test. A state is what it says of itself, from its memory.

    Attributes:
        victim: the running program.
        states: per layer, what it said before and after the dump (after is None if the dump ended it).
    """

    victim: Victim
    states: dict[Path, tuple[State, State | None]] = field(default_factory=dict)

    name: ClassVar[str]
    # Counters that only grow, and all of which grow while it works.
    moving: ClassVar[tuple[str, ...]]
    # Counters of errors.
    clean: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Program":
        """Start it and wait until it answers."""
        raise NotImplementedError

    def flat(self, state: State) -> dict[str, int]:
        """The counters of *state*."""
        return {name: state[name] for name in self.moving}

    def check(self, state: State) -> None:
        """*state* must be whole in itself."""
        for name in self.clean:
            assert state[name] == 0, (name, state)

    def move_on(self) -> State:
        """Let it work until every counter has grown; returns its state then."""
        before = self.flat(self.victim.ask())
        deadline = time.monotonic() + PATIENCE_S
        while True:
            state: State = self.victim.ask()
            now = self.flat(state)
            if all(now[name] > before[name] for name in before):
                self.check(state)
                return state
            assert time.monotonic() < deadline, f"{self.name} does not go on: {before} {now} {self.victim.stuck()}"

    def work_for(self, seconds: float) -> None:
        """It must go on working for so long, in every counter, all the time."""
        end = time.monotonic() + seconds
        while True:
            self.move_on()
            if time.monotonic() > end:
                return
            time.sleep(min(0.25, seconds))  # time is the subject here: it works by itself for so long

    def same_as(self, layer: Path, state: State) -> None:
        """*state*, told right after a restore with the loops held, must be that of *layer*."""
        self.check(state)
        before, after = self.states[layer]
        low, now = self.flat(before), self.flat(state)
        for name, value in now.items():
            assert value >= low[name], f"{name} is older than the layer: {value} < {low[name]}"
            # A loop that was just past its look at `hold` makes one more step.
            assert after is None or value <= self.flat(after)[name] + 1, f"{name} is newer than the layer: {value}"


class Chained(Program):
    """Programs whose state holds hash chains."""

    def flat(self, state: State) -> dict[str, int]:
        return super().flat(state) | {chain["seed"]: chain["steps"] for chain in state["chains"]}

    def check(self, state: State) -> None:
        super().check(state)
        for chain in state["chains"]:
            assert chain["digest"] == Chain.digest_of(chain["seed"], chain["steps"]), f"{chain['seed']} is broken"


class Counter(Chained):
    """CPython, one thread."""

    name = "python, one thread"
    moving = ("past",)
    clean = ("wrong",)

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Counter":
        return cls(start_python(reaper, directory, "python_counter"))


class Worker(Chained):
    """CPython, eight threads with a file, a pipe, a subprocess, signal handlers and a timer."""

    name = "python, eight threads"
    moving = ("lines", "sent", "received", "talks", "alarms", "users")
    clean = ("out_of_order", "wrong_answers")

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Worker":
        return cls(start_python(reaper, directory, "python_worker", written=("worker.log",)))

    def check(self, state: State) -> None:
        super().check(state)
        assert state["child_alive"] and state["handlers"] == [True, True] and state["threads"] == 9, state
        assert abs(state["timer"] - 0.02) < 1e-4

    def same_as(self, layer: Path, state: State) -> None:
        # The timer ticks on while the loops are held.
        after = self.states[layer][1]
        if after is not None:
            after["alarms"] = after["users"] = max(after["alarms"], state["alarms"], state["users"])
        super().same_as(layer, state)
        self.victim.ask("parked")
        state = self.victim.ask()
        log = (self.victim.dir / "worker.log").read_bytes()
        assert state["log_at"] == len(log)
        assert log.decode().splitlines() == [f"line {n + 1}" for n in range(state["lines"])]


class SharedMemory(Program):
    """Three processes over memory that they share."""

    name = "shared memory in C"
    moving = ("steps",)

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "SharedMemory":
        return cls(start_c(reaper, directory, "kind_shared_memory"))

    def check(self, state: State) -> None:
        assert state["wrong"] == "", state


class SocketPairs(SharedMemory):
    """Two processes that talk through socket pairs, and pairs in every state, descriptors in flight among them."""

    name = "socket pairs in Python"

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "SocketPairs":
        return cls(start_python(reaper, directory, "kind_socket_pairs"))


class Cells(Program):
    """A C program over some MiB, whose every page can be told from a stale one."""

    name = "cells in C"
    moving: ClassVar[tuple[str, ...]] = ("step",)
    clean: ClassVar[tuple[str, ...]] = ("wrong",)
    mib = 16
    pages_per_layer = 300
    seed = 0

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Cells":
        return cls(start_c(reaper, directory, "cells", cls.mib))

    def write(self, pages: int) -> None:
        """Write so many distinct pages."""
        self.seed += 1
        self.victim.ask(f"write {pages} {self.seed}")

    def move_on(self) -> State:
        self.write(self.pages_per_layer)
        state: State = self.victim.ask()
        self.check(state)
        return state

    def same_as(self, layer: Path, state: State) -> None:
        self.check(state)
        assert state == self.states[layer][0]


class Registers(Program):
    """Eight threads with known values in all their registers."""

    name = "registers of eight threads"
    moving = ()

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Registers":
        return cls(start_c(reaper, directory, "avx_threads"))

    def flat(self, state: State) -> dict[str, int]:
        return {f"thread {n}": rounds for n, rounds in enumerate(state["rounds"])}

    def same_as(self, layer: Path, state: State) -> None:
        # Its threads look at nothing, so they cannot be held: they go on from the layer.
        before = self.flat(self.states[layer][0])
        assert all(now >= before[name] for name, now in self.flat(state).items())


def open_files(pid: int) -> dict[int, str]:
    """Descriptors and where they lead."""
    return {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


ALL: tuple[type[Program], ...] = (Cells, Counter, Worker, Registers)
__all__ = ["ALL", "Cells", "Chained", "Counter", "Program", "Registers", "State", "Worker", "build", "open_files", "start"]
