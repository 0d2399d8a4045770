"""Kinds of kernel objects, each with a victim that has them and looks whether they are as they were: tests/victims/kind_NAME.py or .c.

Such a victim answers "state" with how many "steps" it has made, with "wrong": what of its objects is not as it was, and with whatever
else must be the same again while it is held. If the steps are a chain of digests (control.py), that is looked at, too.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.live.harness import VICTIMS, Layers, Reaper, Victim, dump, full, restore, start_c, start_python
from tests.victims.control import Chain

KINDS = sorted(path.name for path in VICTIMS.glob("kind_*.[pc]*") if path.suffix in {".py", ".c"})


def start(reaper: Reaper, directory: Path, name: str) -> Victim:
    stem, _, suffix = name.partition(".")
    return start_python(reaper, directory, stem) if suffix == "py" else start_c(reaper, directory, stem)


def whole(state: dict[str, Any]) -> dict[str, Any]:
    assert state["wrong"] == ""
    assert "digest" not in state or Chain.digest_of(state["seed"], state["steps"]) == state["digest"]
    return state


def works_on(victim: Victim) -> None:
    """It comes further than it is."""
    before = whole(victim.ask())["steps"]
    while whole(victim.ask())["steps"] == before:
        pass


@pytest.mark.parametrize("name", KINDS)
def test_three_increments_each_restored(name: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start(reaper, tmp_path / "victim", name)
    for _ in range(full(5, 1)):
        works_on(victim)
        made: list[tuple[Path, dict[str, Any] | None, int]] = []
        for number in range(4):
            layer, held = layers.new(), number % 2 == 0
            if held:
                victim.hold()
            before = whole(victim.ask())
            dump(victim, layer, parent=made[-1][0] if made else None, last=number == 3)
            made.append((layer, before if held else None, before["steps"]))
            victim.go()
            if number < 3:
                works_on(victim)
        for layer, exactly, at_least in made:
            if exactly:
                victim.end()
                victim.hold()
            restore(victim, layer)
            after = whole(victim.ask())
            assert after["steps"] >= at_least
            assert exactly is None or after == exactly
            victim.go()
            works_on(victim)
        dump(victim, layers.new(), parent=made[-1][0])
        works_on(victim)
