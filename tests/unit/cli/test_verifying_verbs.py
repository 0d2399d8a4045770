"""verify, relink and stack as a user types them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lamina.core.cli import main
from lamina.core.image.leftovers import TRASH
from tests.corpus import unpack
from tests.unit.image.layers import Spec, make


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """1 ← 2 ← 3, and a branch 1 ← 4 ← 5."""
    path = tmp_path / "S"
    for name, parent in (("1", None), ("2", "1"), ("3", "2"), ("4", "1"), ("5", "4")):
        make(path, name, Spec({7: {int(name)}}, {7: {1} if parent else set()}), parent, tag=int(name), label="first" if name == "1" else "")
    return path


def run(capsys: pytest.CaptureFixture[str], *args: object, status: int = 0) -> str:
    assert main([str(arg) for arg in args]) == status
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err if status and not said.out else said.out


def as_json(capsys: pytest.CaptureFixture[str], *args: object, status: int = 0) -> Any:
    return json.loads(run(capsys, *args, "--json", status=status))


def test_verify_of_a_layer(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "verify", stack / "3").startswith(f"{stack}/3: restorable\n1 layer checked in ")
    assert "read at" not in run(capsys, "verify", "--fast", stack / "3")
    os.truncate(stack / "2" / "pages-1.img", 0)
    found = as_json(capsys, "verify", stack / "2", status=1)
    assert (found["whole"], found["layers"][0]["restorable"], found["layers"][0]["state"]) == (False, False, "not restorable")
    finding = found["layers"][0]["findings"][0]
    assert (finding["severity"], finding["file"]) == ("stops a restore", "pages-1.img")
    assert run(capsys, "verify", "--stack", stack, "first").startswith(f"{stack}/1: restorable")


def test_verify_of_a_stack(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split() for line in run(capsys, "verify", stack).splitlines()[:-1]] == [
        ["LAYER", "VERDICT"], *([name, "restorable"] for name in ("1", "2", "4", "3", "5")),
    ]  # fmt: skip
    (stack / "4" / "pstree.img").unlink()
    lines = run(capsys, "verify", stack, status=1).splitlines()
    assert "4      not restorable: pstree.img: missing" in lines
    assert [line for line in lines if line.startswith("stops a restore: ")] == ["stops a restore: 4/pstree.img: missing"]


def test_a_layer_that_lost_its_inventory_is_no_empty_stack(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stack / "3" / "inventory.img").unlink()
    assert "it holds no inventory.img" in run(capsys, "verify", stack / "3", status=1)
    assert "3      not restorable: inventory.img: missing" in run(capsys, "verify", stack, status=1)
    assert run(capsys, "verify", stack.parent).startswith("no layers under")


def test_one_line_for_all_that_have_no_checksums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "verify", unpack("criu-3.17.1/three", tmp_path)).splitlines()
    assert [line for line in lines if line.startswith("notice")] == [
        "notice: 1, 2, 3: no checksum was written with its pages: they were read, and there is nothing to compare them with"
    ]


def test_the_tree_of_a_stack(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "stack", stack).splitlines()
    assert [line[:5].rstrip() for line in lines] == ["LAYER", "1", "├─ 2", "│  3", "└─ 4", "   5"]
    assert all(line.endswith("yes") for line in lines[1:])


def test_what_is_broken_pinned_or_in_the_trash_is_listed(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stack / "4").rename(stack / f"{TRASH}4")
    run(capsys, "pin", stack / "2")
    text = run(capsys, "stack", stack)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["5"].endswith(
        f"no: parent: its parent ../4 is not there: no such directory (if it was moved or renamed: lamina relink {stack}/5)"
    )
    assert "[pinned" in lines["2"]
    assert text.splitlines()[-1].startswith("in the trash: 1 layer, ")
    found = as_json(capsys, "stack", stack)
    assert [it["name"] for it in found["layers"]] == ["1", "2", "3"]
    assert [Path(it["path"]).name for it in found["unreadable"]] == ["5"]
    assert len(found["trash"]["layers"]) == 1 and found["trash"]["disk_bytes"] > 0
    assert found["layers"][1]["pinned"] is True


def test_relink(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stack / "4").rename(stack / "four")
    assert "would be linked to ../four" in run(capsys, "relink", stack / "5", "--to", stack / "four", "--dry-run")
    assert os.readlink(stack / "5" / "parent") == "../4"
    found = as_json(capsys, "relink", "--stack", stack, "5", "--to", stack / "four")
    assert (found["changed"], found["link"], found["before"]) == (True, "../four", "../4")
    assert "as its link says" in run(capsys, "relink", stack / "5", "--to", stack / "four")
    assert "it is a full layer" in run(capsys, "relink", stack / "1", status=1)
