"""A running program whose stack is changed under it: it goes on being dumped, and every layer that stays brings it back."""

from collections import Counter
from pathlib import Path

from tests.live.harness import Layers, Reaper, dump, lamina, restore
from tests.live.programs import Cells


class Small(Cells):
    mib = 8
    pages_per_layer = 150


def next_layer(program: Cells, layers: Layers, parent: Path | None) -> tuple[Path, int]:
    """A dump on *parent*, and how many pages it inherited."""
    program.move_on()
    layer = layers.new()
    before = program.victim.ask()
    said = dump(program.victim, layer, parent=parent).json
    program.states[layer] = (before, program.victim.ask())
    return layer, int(said["stats"]["pages_skipped_parent"])


def test_dump_shape_dump_restore(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    program = Small.launch(reaper, tmp_path / "victim")
    made: list[Path] = []
    for _ in range(6):
        layer, _ = next_layer(program, layers, made[-1] if made else None)
        made.append(layer)
    one, two, _, four, five, six = made
    lamina("squash", f"{two}..{four}")
    lamina("drop", one)
    lamina("squash", f"{five}..{six}")
    # The layer that its dirty bits are counted from was rewritten, and is still that layer.
    seven, inherited = next_layer(program, layers, six)
    assert inherited > 1000
    dropping = lamina("drop", seven)
    assert f"process {program.victim.pid}" in dropping.err and "its next dump is full" in dropping.err
    eight, inherited = next_layer(program, layers, six)
    assert inherited == 0
    lamina("undo", layers.path)
    lamina("trash", layers.path, "--empty")
    program.victim.hold()
    for layer in (four, six, seven, eight, seven):
        restore(program.victim, layer)
        program.same_as(layer, program.victim.ask())
        tally["restore of a layer whose stack was changed"] += 1
