"""The images are CRIU's: Debian's crit decodes every file, ours show every field."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, dump, lamina, need
from tests.live.programs import Cells, Program, Worker

# Raw pages and what is not CRIU's.
NOT_IMAGES = ("pages-",)


@pytest.mark.parametrize("kind", (Cells, Worker), ids=lambda kind: kind.__name__)
def test_crit_decodes_every_file_of_every_layer(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    need("crit")
    program = kind.launch(reaper, tmp_path / "victim")
    parent = None
    for last in (False, False, True):
        program.move_on()
        layer = layers.new()
        dump(program.victim, layer, parent=parent, last=last)
        parent = layer
        for image in sorted(layer.glob("*.img")):
            if image.name.startswith(NOT_IMAGES):
                continue
            done = subprocess.run(["crit", "decode", "-i", image], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{image.name}: {done.stderr}"
            decoded = json.loads(done.stdout)
            assert decoded["entries"] or image.name in {"seccomp.img"}, image.name
            if image.name.startswith("pagemap-"):
                assert all(entry["nr_pages"] > 0 for entry in decoded["entries"][1:])
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
