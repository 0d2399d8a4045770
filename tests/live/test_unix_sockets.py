"""Socket pairs as only a real tree shows them: who made them, as which user."""

import os
from pathlib import Path

from tests.live.harness import Layers, Reaper, dump, restore, start_python


def test_who_made_a_pair_is_named_again(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_python(reaper, tmp_path / "victim", "pair_makers")
    before = victim.ask()
    assert before["by a child"] == [before["child"], 1234, 4321, [77, 99]]
    assert before["by a grandchild that has ended"][0] not in (before["pid"], before["child"])
    layer = layers.new()
    text = dump(victim, layer, last=True)
    assert "SO_PEERCRED says a process that has ended" in str(text)
    restore(victim, layer)
    after = victim.ask()
    assert after["by a grandchild that has ended"][0] != os.getpid()
    for state in (before, after):
        del state["by a grandchild that has ended"]
    assert after == before
