"""The images are CRIU's: Debian's crit decodes every file, ours show every field."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.harness import Layers, Reaper, dump, lamina, need
from tests.live.programs import Cells, Program, Worker

# Raw pages, and what is not CRIU's.
NOT_IMAGES = ("pages-", "lamina.json")
PARENT, PRESENT = 1, 4


def crit(image: Path) -> list[Any]:
    """The records of *image* as Debian's crit decodes them."""
    done = subprocess.run(["crit", "decode", "-i", image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{image.name}: {done.stderr}"
    return list(json.loads(done.stdout)["entries"])


def pages(entries: list[Any], flag: int) -> int:
    """How many pages of a map have *flag*, by crit's reading of their counts."""
    return sum(entry["nr_pages"] for entry in entries if int(entry["flags"]) & flag)


@pytest.mark.parametrize("kind", (Cells, Worker), ids=lambda kind: kind.__name__)
def test_crit_decodes_every_file_of_every_layer(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    need("crit")
    program = kind.launch(reaper, tmp_path / "victim")
    parent = None
    for last in (False, False, True):
        program.move_on()
        layer = layers.new()
        stats = dump(program.victim, layer, parent=parent, last=last).json["stats"]
        parent = layer
        images = [path for path in sorted(layer.iterdir()) if path.is_file() and not path.name.startswith(NOT_IMAGES)]
        assert {"stats-dump", "inventory.img", "pstree.img", "files.img"} < {path.name for path in images}
        decoded = {image.name: crit(image) for image in images}
        assert all(decoded.values()), [name for name, entries in decoded.items() if not entries]

        maps = [entries for name, entries in decoded.items() if name.startswith("pagemap-")]
        for head, *entries in maps:
            assert 4096 * pages(entries, PRESENT) == (layer / f"pages-{head['pages_id']}.img").stat().st_size
            assert all(entry["nr_pages"] > 0 for entry in entries)
        told = decoded["stats-dump"][0]["dump"]
        for name, flag in (("pages_written", PRESENT), ("pages_skipped_parent", PARENT)):
            assert int(told[name]) == stats[name] == sum(pages(entries, flag) for _, *entries in maps), name
        shown = lamina("show", layer, "--json").json
        assert {image.name for image in layer.glob("*.img") if not image.name.startswith(NOT_IMAGES)} <= set(flatten(shown))


def flatten(tree: object) -> list[str]:
    """All keys and strings of a JSON value."""
    if isinstance(tree, dict):
        return [str(key) for key in tree] + [word for value in tree.values() for word in flatten(value)]
    if isinstance(tree, list):
        return [word for value in tree for word in flatten(value)]
    return [str(tree)]


def test_both_fields_of_a_page_count_are_filled(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    from google.protobuf.message import Message

    from lamina.core.image.format import decode_image

    program = Cells.launch(reaper, tmp_path / "victim")
    layer = layers.new()
    dump(program.victim, layer)
    records: list[Message] = decode_image(layer / f"pagemap-{program.victim.pid}.img", "pagemap")
    assert len(records) > 1
    for record in records[1:]:
        assert record.compat_nr_pages == record.nr_pages > 0  # type: ignore[attr-defined]
