"""The seed's session, typed as written: layers of a running program, a last one that ends it, and back to any of them."""

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import FULL, PATIENCE_S, Layers, Reaper, alive, dump, full, lamina, restore
from tests.live.programs import ALL, Cells, Program

ROUNDS = full(50, 1)
WORK_S = full(10, 0.5)  # after every restore of the first round
LATER_S = full(1, 0.5)  # once in each round
SLACK = 32  # pages a program changes beside the ones it was asked to


def take(program: Program, layer: Path, parent: Path | None, last: bool = False) -> None:
    """Dump and note what the program said before and after."""
    before = program.victim.ask()
    dump(program.victim, layer, parent=parent, last=last)
    program.states[layer] = (before, None if last else program.victim.ask())
    if last:
        assert not alive(program.victim.pid)


def back_to(program: Program, layer: Path) -> None:
    """Restore *layer* with the loops held, and compare."""
    program.victim.hold()
    restore(program.victim, layer)
    program.same_as(layer, program.victim.ask())
    program.victim.go()


@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_back_to_every_layer_in_any_order(
    kind: type[Program], round_number: int, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]
) -> None:
    program = kind.launch(reaper, tmp_path / "victim")
    stack: list[Path] = []
    for last in (False, False, False, True):
        program.move_on()
        stack.append(layers.new())
        take(program, stack[-1], stack[-2] if len(stack) > 1 else None, last)

    order = [*stack, random.Random(round_number).choice(stack)]
    random.Random(round_number).shuffle(order)
    for layer in order:
        back_to(program, layer)
        program.work_for(WORK_S if round_number == 0 and FULL else 0)
        tally[f"restore: {kind.name}"] += 1
    program.work_for(LATER_S)

    branch = layers.new()
    take(program, branch, parent=order[-1])
    program.work_for(0)
    back_to(program, branch)
    program.work_for(0)
    tally[f"the seed's session: {kind.name}"] += 1


def test_increments_hold_what_changed(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    assert isinstance(program, Cells)
    first, second, third = layers.new(), layers.new(), layers.new()
    whole = dump(program.victim, first).json["stats"]
    assert whole["pages_written"] >= program.mib * 256

    for layer, parent, count in ((second, first, 500), (third, second, 3)):
        program.write(count)
        stats = dump(program.victim, layer, parent=parent).json["stats"]
        assert count <= stats["pages_written"] <= count + SLACK
        assert stats["pages_skipped_parent"] >= program.mib * 256 - count
        held = sum(entry["own_pages"] for entry in lamina("stack", layers.path, "--json").json["layers"] if entry["name"] == layer.name)
        assert held == stats["pages_written"]


def test_a_layer_on_another_than_the_last_one_is_right(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Dirty bits count from layer 2; a third one on ../1 must not trust them."""
    program = Cells.launch(reaper, tmp_path / "victim")
    first, second, third = layers.new(), layers.new(), layers.new()
    take(program, first, None)
    program.move_on()
    take(program, second, first)
    program.move_on()
    take(program, third, first)
    for layer in (third, first, second, third):
        back_to(program, layer)


def test_pages_dropped_grown_and_zeroed_between_layers(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    stack = [layers.new() for _ in range(4)]
    take(program, stack[0], None)
    program.victim.ask("drop 700")
    take(program, stack[1], stack[0])
    program.victim.ask("grow 2")
    take(program, stack[2], stack[1])
    program.move_on()
    take(program, stack[3], stack[2], last=True)
    for layer in (stack[1], stack[3], stack[0], stack[2], stack[1]):
        back_to(program, layer)


def test_a_full_dump_ends_tracking(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """-R without --track-mem: mappings, descriptors and masks are as before lamina came."""
    from tests.live.trace import observe

    program = Cells.launch(reaper, tmp_path / "victim")
    before = observe(program.victim.pid)
    dump(program.victim, layers.new())
    assert "userfaultfd" in str(observe(program.victim.pid).descriptors)
    lamina("dump", "-t", program.victim.pid, "-D", layers.new(), "-R")
    assert observe(program.victim.pid) == before
    lamina("track", "-t", program.victim.pid)
    lamina("untrack", "-t", program.victim.pid)
    assert observe(program.victim.pid) == before


def test_pre_dump_is_a_parent_and_cannot_be_restored(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    memory, layer = layers.new(), layers.new()
    lamina("pre-dump", "-t", program.victim.pid, "-D", memory, "--track-mem")
    program.write(100)
    take(program, layer, memory, last=True)
    refused = lamina("restore", "-D", memory, "-d", ok=False)
    assert refused.status == 1 and "pre-dump" in refused.err and len(refused.err.splitlines()) == 1
    assert not alive(program.victim.pid)
    back_to(program, layer)


def test_replace_ends_the_running_one_and_keeps_a_rescue_layer(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    first = layers.new()
    take(program, first, None)
    later = program.move_on()
    # Its parent, which is us, waits for it, as a shell would.
    parent = threading.Thread(target=os.waitpid, args=(program.victim.pid, 0))
    parent.start()
    result = lamina("restore", "-D", first, "-d", "--replace", "--json").json
    parent.join(PATIENCE_S)
    program.same_as(first, program.victim.ask())
    rescue = Path(result["rescue_dir"])
    program.victim.end()
    lamina("restore", "-D", rescue, "-d")
    assert program.victim.ask() == later


def test_dedup_marks_the_ancestors_and_they_are_refused(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    first, second = layers.new(), layers.new()
    take(program, first, None)
    program.move_on()
    take(program, second, first, last=True)

    def blocks(layer: Path) -> int:
        return sum(path.stat().st_blocks for path in layer.glob("pages-*.img"))

    whole = blocks(first)
    plan = lamina("dedup", "-D", second, "--dry-run", "--json").json
    assert plan["dry_run"] and blocks(first) == whole
    lamina("dedup", "-D", second)
    assert blocks(first) <= whole - program.pages_per_layer * 8 + 64
    refused = lamina("restore", "-D", first, "-d", ok=False)
    assert refused.status == 1 and len(refused.err.splitlines()) == 1, refused.said
    assert not alive(program.victim.pid)
    back_to(program, second)
