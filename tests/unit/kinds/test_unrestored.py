"""What a set of criu holds that no kind puts back is refused by name; what it holds besides is not."""

from pathlib import Path

import pytest

from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry, file_lock_entry, plugins_entry
from lamina.core.kinds import unrestored
from tests.corpus import unpack


def three(tmp_path: Path) -> Path:
    return unpack("criu-3.17.1/three", tmp_path) / "1"


@pytest.mark.parametrize("number", "123")
def test_a_plain_set_of_criu_has_nothing_beyond(number: str, tmp_path: Path) -> None:
    """timens-0, an empty seccomp record, lsmtype, the network lock and dump_uptime are in each of them."""
    layer = Layer(unpack("criu-3.17.1/three", tmp_path) / number)
    assert {"timens-0.img", "seccomp.img"} <= set(layer.names())
    assert unrestored.blockers(layer) == []
    assert [unrestored.thread_blockers(layer.core(tid)) for task in layer.pstree for tid in task.threads] == [[], []]


def test_every_image_of_a_rich_set_is_named(tmp_path: Path) -> None:
    layer = Layer(unpack("criu-3.17.1/kinds", tmp_path) / "last")
    named = {blocker.obj for blocker in unrestored.blockers(layer)}
    assert named == {"fifo-data.img", "filelocks.img", "ghost-file-1.img", "memfd.img", "remap-fpath.img", "sk-queues.img"}


def test_an_image_without_records_is_nothing(tmp_path: Path) -> None:
    """criu before 3 wrote an empty image of every kind."""
    path = three(tmp_path)
    (path / "filelocks.img").write_bytes(fmt.encode_image("filelocks", []))
    assert unrestored.blockers(Layer(path)) == []
    lock = file_lock_entry(flag=1, type=1, pid=169, fd=1, start=0, len=0)
    (path / "filelocks.img").write_bytes(fmt.encode_image("filelocks", [lock]))
    assert [blocker.obj for blocker in unrestored.blockers(Layer(path))] == ["filelocks.img"]


def test_plugins_are_named(tmp_path: Path) -> None:
    path = three(tmp_path)
    record = Layer(path).inventory
    record.plugins_entry.CopyFrom(plugins_entry(plugins=[]))
    (path / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    assert unrestored.blockers(Layer(path)) == []
    record.plugins_entry.plugins.append("amdgpu_plugin")
    (path / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    (found,) = unrestored.blockers(Layer(path))
    assert found.obj == "inventory.img" and "amdgpu_plugin" in found.why


def test_a_security_profile_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    core = core_entry(mtype=core_entry.X86_64)
    core.thread_core.creds.lsm_profile = "docker-default"
    (found,) = unrestored.thread_blockers(core)
    assert "docker-default" in found.why
    monkeypatch.setattr(unrestored, "own_label", lambda: "docker-default")
    assert unrestored.thread_blockers(core) == []
