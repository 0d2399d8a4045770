"""What a set of criu holds that no kind puts back is named, by verify as by restore; what it holds besides is not."""

from pathlib import Path

import pytest

from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.schema import file_lock_entry, plugins_entry, task_kobj_ids_entry
from lamina.core.image.shared_tables import Relative
from lamina.core.kinds.task.ids import foreign_namespaces, shared_objects
from lamina.core.verify import State, check_chain, verify_layer
from lamina.core.verify.unsupported import images
from tests.corpus import unpack


def three(tmp_path: Path) -> Path:
    return unpack("criu-3.17.1/three", tmp_path) / "1"


@pytest.mark.parametrize("number", "123")
def test_a_plain_set_of_criu_has_nothing_beyond(number: str, tmp_path: Path) -> None:
    """timens-0, an empty seccomp record, lsmtype, the network lock and dump_uptime are in each of them."""
    layer = Layer(unpack("criu-3.17.1/three", tmp_path) / number)
    assert {"timens-0.img", "seccomp.img"} <= set(layer.names())
    assert check_chain(layer, ours=True) == []


def test_everything_of_a_rich_set_is_named(tmp_path: Path) -> None:
    layer = Layer(unpack("criu-3.17.1/kinds", tmp_path) / "last")
    assert check_chain(layer) == [], "for criu it is whole"
    found = check_chain(layer, ours=True)
    named = {it.file for it in found}
    assert {"filelocks.img", "ghost-file-1.img", "memfd.img", "remap-fpath.img"} < named
    assert "sk-queues.img" not in named and not any("UNIXSK" in it.why for it in found), "pairs of sockets are put back"
    (report,) = verify_layer(layer).reports
    assert report.state is State.UNSUPPORTED and report.whole and report.why.endswith(f"(and {len(found) - 1} more)")


def test_an_image_without_records_is_nothing(tmp_path: Path) -> None:
    """criu before 3 wrote an empty image of every kind."""
    path = three(tmp_path)
    (path / "filelocks.img").write_bytes(fmt.encode_image("filelocks", []))
    assert not [*images(Layer(path))]
    lock = file_lock_entry(flag=1, type=1, pid=169, fd=1, start=0, len=0)
    (path / "filelocks.img").write_bytes(fmt.encode_image("filelocks", [lock]))
    assert [it.file for it in images(Layer(path))] == ["filelocks.img"]


def test_plugins_are_named(tmp_path: Path) -> None:
    path = three(tmp_path)
    record = Layer(path).inventory
    record.plugins_entry.CopyFrom(plugins_entry(plugins=[]))
    (path / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    assert not [*images(Layer(path))]
    record.plugins_entry.plugins.append("amdgpu_plugin")
    (path / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    (found,) = images(Layer(path))
    assert found.file == "inventory.img" and "amdgpu_plugin" in found.why


def test_what_processes_share_and_namespaces_of_their_own() -> None:
    one = task_kobj_ids_entry(vm_id=1, files_id=1, fs_id=1, sighand_id=1, net_ns_id=5)
    two = task_kobj_ids_entry(vm_id=2, files_id=2, fs_id=2, sighand_id=2, net_ns_id=6)
    family = [Relative(10, 0, 10), Relative(20, 10, 10)]
    assert not [*shared_objects(family, {10: one, 20: two})]
    assert len([*shared_objects(family, {10: one, 20: one})]) == 2, "memory and signal actions; a child may share the other two"
    assert len([*shared_objects([family[0], Relative(20, 11, 10)], {10: one, 20: one})]) == 3
    assert not [*foreign_namespaces(one, one)]
    assert [*foreign_namespaces(one, two)] == ["it had a net namespace of its own, which is not supported"]
