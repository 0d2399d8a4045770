"""criu's own set of control groups is understood; that of a program in others is said."""

from pathlib import Path

from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.kinds.task.cgroups import ControlGroups
from tests.corpus import unpack


def test_the_set_criu_ran_in_is_nothing_to_say(tmp_path: Path) -> None:
    layer = Layer(unpack("criu-3.17.1/three", tmp_path) / "1")
    assert layer.inventory.root_cg_set
    assert not [*ControlGroups().notices(layer)]


def test_another_set_is_said(tmp_path: Path) -> None:
    path = unpack("criu-3.17.1/three", tmp_path) / "1"
    record = Layer(path).inventory
    record.root_cg_set += 1
    (path / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    layer = Layer(path)
    (said,) = ControlGroups().notices(layer)
    assert said.startswith("cgroup.img") and str(layer.pids[0]) in said
