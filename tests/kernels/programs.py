"""What is dumped and restored here: few programs, as a guest is slow, that prove their whole state from memory."""

from pathlib import Path

from tests.live.harness import Reaper, start_c
from tests.live.programs import Cells, Counter, Program, State


class Pair(Cells):
    """Two threads in C: cells written on request, and a chain that walks by itself."""

    name = "two threads in C"
    moving = ("step", "beats")
    clean = ("wrong", "chain_wrong")
    pages = 1024
    pages_per_layer = 40

    @classmethod
    def launch(cls, reaper: Reaper, directory: Path) -> "Pair":
        return cls(start_c(reaper, directory, "pair", cls.pages))

    def same_as(self, layer: Path, state: State) -> None:
        before, _ = self.states[layer]
        assert {name: state[name] for name in ("step", "digest")} == {name: before[name] for name in ("step", "digest")}
        Program.same_as(self, layer, state)


BOTH: tuple[type[Program], ...] = (Pair, Counter)
