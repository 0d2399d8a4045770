"""Stacks cross over: what one tool dumped in three layers, the other brings back from each of them, and the program proves its state."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernels.criu import criu_dump, criu_restore
from tests.kernels.programs import BOTH
from tests.live.harness import Layers, Reaper, alive, dump, restore
from tests.live.programs import Program

kinds = pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)


def three_layers(program: Program, layers: Layers, dumping: Callable[..., object]) -> list[Path]:
    """Two dumps that leave it running and one that ends it, each with something new."""
    stack: list[Path] = []
    for last in (False, False, True):
        program.move_on()
        layer = layers.new()
        program.victim.hold()
        before = program.victim.ask()
        dumping(program.victim, layer, parent=stack[-1] if stack else None, last=last)
        program.states[layer] = (before, None if last else program.victim.ask())
        program.victim.go()
        stack.append(layer)
    assert not alive(program.victim.pid)
    return stack


def back_to(program: Program, layer: Path, restoring: Callable[..., object]) -> None:
    """Restore with the loops held, compare, let it work."""
    program.victim.hold()
    restoring(program.victim, layer)
    program.same_as(layer, program.victim.ask())
    program.victim.go()
    program.move_on()


@kinds
def test_criu_restores_every_layer_of_ours(
    kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]
) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    for layer in reversed(three_layers(program, layers, dump)):
        back_to(program, layer, criu_restore)
        tally[f"lamina dump, criu restore: {kind.name}"] += 1


@kinds
def test_we_restore_every_layer_of_criu(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    for layer in reversed(three_layers(program, layers, criu_dump)):
        back_to(program, layer, restore)
        tally[f"criu dump, lamina restore: {kind.name}"] += 1
