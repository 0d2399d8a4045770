"""A tree comes back as a tree: parents, sessions, groups, pipes between processes, and the statuses of children that had exited."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

from tests.live.harness import Layers, Reaper, alive, dump, full, reap_orphans, restore, start_c, tree_of

TIMES = full(20, 2)


def relations(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "number"}


def test_parents_sessions_groups_pipes_and_zombies(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    victim = start_c(reaper, tmp_path / "victim", "sessions")
    before = victim.ask()
    pids = sorted(tree_of(victim.pid))
    assert len(pids) == 7 and before["wrong"] == 0
    parent = None
    for _ in range(TIMES):
        layer = layers.new()
        dump(victim, layer, parent=parent, last=True)
        assert not any(alive(pid) for pid in pids)
        reap_orphans()
        restore(victim, layer)
        after = victim.ask()
        assert relations(after) == relations(before) and after["number"] >= before["number"]
        assert sorted(tree_of(victim.pid)) == pids
        before, parent = after, layer
        tally["restore of seven processes"] += 1

    ends = victim.ask("finish")
    assert ends == {
        "writer": signal.SIGKILL, "reader": 42 << 8, "member": signal.SIGTERM, "exited": 7 << 8, "killed": signal.SIGTERM
    }  # fmt: skip
