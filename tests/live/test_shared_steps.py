"""Shared anonymous memory under random use: what two to five processes map, and every byte of it, is after a restore as it was at the dump.

The processes fork and end, map twice, move, cut, protect, punch and write between two dumps, so that much of what they write goes past
what a tracker sees. Dumps stand on the last layer; restores go back to any, and from there a branch begins.
"""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from lamina.core.attach.procfs import read_maps
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.inspect.owned_pieces import read_owned
from tests.live.harness import Layers, Reaper, Victim, dump, full, lamina, restore, start_c, tree_of

STEPS = 40


def picture(pid: int) -> dict[str, Any]:
    """Who maps what, and the content of every object, by the order in which they are found. Reads no page that is not there."""
    ordinals: dict[int, int] = {}
    contents: list[bytes] = []
    mapped, where = [], []
    tree = tree_of(pid)
    for number, one in enumerate(sorted(tree)):
        for area in read_maps(one):
            if not area.is_shared_memory:
                continue
            if area.inode not in ordinals:
                ordinals[area.inode] = len(ordinals)
                contents.append(content_of(one, area.start, area.end))
            where.append((one, area.start, ordinals[area.inode]))
            mapped.append((number, area.start, area.end, area.perms, area.offset, ordinals[area.inode]))
    return {"pids": sorted(tree), "mapped": mapped, "contents": contents, "where": where}


def content_of(pid: int, start: int, end: int) -> bytes:
    fd = os.open(f"/proc/{pid}/map_files/{start:x}-{end:x}", os.O_RDONLY)
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def in_layer(layer: Layer, before: dict[str, Any]) -> list[bytes]:
    """The content of the objects of *before* as the layer has them through its parents, without restoring anything."""
    numbers: dict[int, int] = {}
    for pid, start, ordinal in before["where"]:
        numbers[ordinal] = next(area.shmid for area in layer.mm(pid).vmas if area.start <= start < area.end)
    found = []
    for ordinal, content in enumerate(before["contents"]):
        owners = resolve(layer.chain(), f"shmem-{numbers[ordinal]}")
        found.append(read_owned(owners, 0, len(content)))
    return found


def step_on(victim: Victim, dice: random.Random) -> None:
    victim.ask(f"steps {STEPS} {dice.getrandbits(40)}")


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = [name for name in ("pids", "mapped") if before[name] != after[name]]
    for number, (one, other) in enumerate(zip(before["contents"], after["contents"], strict=False)):
        if one != other:
            pages = [at // 4096 for at in range(0, len(one), 4096) if one[at : at + 4096] != other[at : at + 4096]]
            found.append(f"object {number}: sizes {len(one)} and {len(other)}, pages {pages[:20]}")
    return found


def test_every_byte_is_back(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    dice = random.Random(seed := random.randrange(1 << 30))
    victim = start_c(reaper, tmp_path / "victim", "shared_steps")
    made: list[tuple[Path, dict[str, Any]]] = []
    parent: Path | None = None
    notices: Counter[str] = Counter()
    for _ in range(full(250, 8)):
        step_on(victim, dice)
        layer, before = layers.new(), picture(victim.pid)
        said = dump(victim, layer, parent=parent).json["notices"]
        notices.update(note.rpartition(": ")[2] for note in said if "copied whole" in note)
        assert not differences(before, picture(victim.pid)), f"seed {seed}: the dump changed something"
        held = {"contents": in_layer(Layer(layer), before)}
        assert not (found := differences(before | held, before)), f"seed {seed}, layer {layer.name}: {found}"
        made.append((layer, before))
        tally["steps over shared memory"] += STEPS
        parent = layer
        if dice.random() < 0.4:
            parent, wanted = dice.choice(made[-12:])
            restore(victim, parent)
            assert not (found := differences(wanted, picture(victim.pid))), f"seed {seed}, layer {parent.name}: {found}"
            tally["trees with shared memory restored"] += 1
    assert full(bool(notices), True), "nothing was ever written unseen: nothing was shown"


def test_a_process_outside_that_maps_it_too_is_named(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Its relatives have the memory, too: what they write is in the next layer, and check and dump say so."""
    victim = start_c(reaper, tmp_path / "victim", "shared_steps")
    victim.ask("steps 60 9")  # with this seed there are children
    child = next(pid for pid in tree_of(victim.pid) if pid != victim.pid)
    outside = "outside the tree: a restored program shares it no more"
    assert any(outside in note for note in lamina("check", "--json", "-t", child).json["examination"]["notes"])
    inside = Victim(child, victim.dir, reaper)
    for parent in (None, layers.path / "1"):
        said = dump(inside, layers.new(), parent=parent).json["notices"]
        assert any(outside in note for note in said)
        assert any("copied whole" in note for note in said) == (parent is not None)
