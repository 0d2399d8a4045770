"""A tree that changes between layers: children are born, end, and wait as zombies; each comes back with its own memory and pipes."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from tests.live.harness import Layers, Reaper, Victim, dump, full, restore, start_c, tree_of, wait_gone

ROUNDS = full(20, 1)


def test_tree_that_changes_between_layers(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    for number in range(ROUNDS):
        victim = start_c(reaper, tmp_path / f"victim{number}", "growing_tree")
        states: dict[Path, Any] = {}

        take(victim, layers, states)
        victim.ask("fork")
        take(victim, layers, states)
        assert victim.ask("end") == {"right": 1}
        victim.ask("fork")
        take(victim, layers, states)
        ended = victim.ask("zombie")["number"]
        take(victim, layers, states, last=True)

        order = list(states)
        for layer in (order[3], order[0], order[2], order[1], order[3]):
            end_tree(victim.pid, states[layer], reaper)
            restore(victim, layer)
            assert victim.ask() == states[layer]
            assert victim.ask("talk")["wrong"] == 0
            tally["restore: parent with children"] += 1
        assert victim.ask("reap") == {"status": ended}
        victim.ask("fork")
        after, branch = victim.ask("talk"), layers.new()
        dump(victim, branch, parent=order[3])
        end_tree(victim.pid, after, reaper)
        restore(victim, branch)
        assert victim.ask() == after
        end_tree(victim.pid, after, reaper)


def take(victim: Victim, layers: Layers, states: dict[Path, Any], last: bool = False) -> None:
    """Let every child write, and dump on the layer before."""
    state = victim.ask("talk")
    assert state["wrong"] == 0, state
    layer, parent = layers.new(), next(reversed(states), None)
    dump(victim, layer, parent=parent, last=last)
    states[layer] = state


def end_tree(pid: int, state: dict[str, Any], reaper: Reaper) -> None:
    """End it by pid; its children lead sessions of their own, so none ends with it."""
    tree = tree_of(pid)
    reaper.end(pid)
    for child in tree:
        wait_gone(child)
    assert not any(os.path.exists(f"/proc/{child[1]}") for child in state["children"]), "a pid is taken by another process"
