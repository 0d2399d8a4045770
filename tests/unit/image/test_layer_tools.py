"""The lock, whom to trust, and how a layer is shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.core.errors import BusyError, ImageError
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.show import as_text, as_tree
from lamina.core.image.summary import summary_of
from lamina.core.image.trust import untrusted_owner
from tests.unit.image.layers import Spec, make, read_page


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from lamina.core.image.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"process {holder.pid} \(python.*\) is writing there"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_a_stack_that_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot lock stack"), locked(tmp_path / "none"):
        pass
    assert stack_of(tmp_path / "1") == tmp_path


def test_trust_is_for_root_and_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "1", Spec({7: {1}}))
    child = make(tmp_path, "2", Spec({7: set()}, {7: {1}}), "1")
    assert untrusted_owner(child) is None
    (tmp_path / "1" / "pages-1.img").chmod(0o666)
    assert untrusted_owner(child) == f"{tmp_path}/1/pages-1.img can be written by everybody"
    (tmp_path / "1" / "pages-1.img").chmod(0o600)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(tmp_path / "1" / "pages-1.img", 54321, -1)
    assert untrusted_owner(child) == f"{tmp_path}/1/pages-1.img belongs to user 54321"
    monkeypatch.setenv("SUDO_UID", "54321")
    assert untrusted_owner(child) is None
    os.lchown(tmp_path / "2" / "parent", 54322, -1)
    assert untrusted_owner(child) == f"{tmp_path}/2/parent belongs to user 54322"


def test_show_leaves_nothing_out(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 5}}))
    layer = make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1")
    tree = as_tree(layer.path)
    json.dumps(tree)
    assert set(tree) == set(os.listdir(layer.directory))
    for name, shown in tree.items():
        if kind := fmt.kind_of_file(name):
            assert shown["summary"]
            shown_records = len(shown["records"]) + len(shown.get("runs", {"rows": ()})["rows"])
            assert shown_records == len(fmt.decode_image(layer.file(name), kind.name))
    assert tree["parent"] == {"kind": "link", "summary": "to ../1", "target": "../1"}
    assert tree["pages-1.img"]["bytes"] == 4096
    assert tree["files.img"]["records"][1]["reg"]["name"] == "tmp/\\xff\\xfe name"
    assert tree["files.img"]["records"][1]["type"] == "REG"
    text = as_text(tree)
    assert "  records[0]:" in text
    assert "mtype: X86_64" in text
    assert "vmas[0]: start 0x7f0000000000, end 0x7f0000040000," in text
    assert "prot 0x3 (read write), flags 0x22 (private anonymous), status 0x201 (regular anon-private), fd -1" in text
    assert as_tree(layer.file("core-7.img")) == tree["core-7.img"]


def test_show_names_what_it_cannot_read(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    layer.file("mm-7.img").write_bytes(b"short")
    shown = as_tree(layer.path)["mm-7.img"]
    assert shown["kind"] == "mm"
    assert "not an image" in shown["error"]
    with pytest.raises(ImageError, match="no such file"):
        as_tree(tmp_path / "none")
    unknown = fmt.encode_image("fs", fmt.decode_image(layer.file("fs-7.img"), "fs"))
    layer.file("fs-7.img").write_bytes(unknown[:8] + (unknown[8] + 2).to_bytes(4, "little") + unknown[12:] + b"\x78\x01")
    assert as_tree(layer.path)["fs-7.img"]["records"][0]["unknown_fields"] == [{"field": 15, "value": 1}]


def test_a_terminal_cannot_be_driven_by_a_name(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    entries = fmt.decode(layer.file("files.img"), fmt.FILES)
    entries[0].reg.name = b"\x1b[2J\x07evil"
    layer.file("files.img").write_bytes(fmt.encode_image("files", entries))
    assert "\x1b" not in as_text(as_tree(layer.path))


def test_summary(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 5}, 8: {1}}), label="first", tag=3)
    child = make(tmp_path, "2", Spec({7: {1}}, {7: {2, 5}}), "1")
    first = summary_of(Layer(tmp_path / "1"))
    assert (first.name, first.label, first.parent, first.own_pages, first.inherited_pages) == ("1", "first", None, 4, 0)
    assert (first.time, first.restorable, first.why_not) == (1_700_000_003.0, True, "")
    second = summary_of(child)
    assert (second.parent, second.own_pages, second.inherited_pages) == ("../1", 1, 2)
    assert second.disk_bytes >= 4096 < second.logical_bytes
    (tmp_path / "2" / "lamina.json").unlink()
    foreign = summary_of(Layer(tmp_path / "2"))
    assert (foreign.layer_id, foreign.tracker, foreign.restorable) == ("", "unknown", True)
    assert foreign.time == (tmp_path / "2" / "inventory.img").stat().st_mtime
    assert read_page(child, 8, 1) is None if 8 in child.objects else True
