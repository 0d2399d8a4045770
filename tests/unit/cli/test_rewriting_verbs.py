"""squash, drop, undo, trash, prune, pin, label as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamina.core.cli.entry import main
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from tests.unit.rewrite.memories import leftovers, memories
from tests.unit.rewrite.test_changes import chain_of

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "log"))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    chain_of(tmp_path / "S", 5)
    return tmp_path / "S"


def run(capsys: Said, *words: object) -> tuple[int, str, str]:
    try:
        status = main([str(word) for word in words])
    except SystemExit as error:
        status = int(str(error.code))
    said = capsys.readouterr()
    return status, said.out, said.err


def said_json(capsys: Said, *words: object) -> Any:
    status, out, err = run(capsys, *words, "--json")
    assert status == 0, err
    return json.loads(out)


def test_a_dry_run_says_what_the_verb_then_does(stack: Path, capsys: Said) -> None:
    before = memories(stack)
    for words in (("drop", stack / "2"), ("squash", f"{stack}/3..5"), ("prune", stack, "--keep-last", "1")):
        dry = said_json(capsys, *words, "--dry-run")
        assert not [path.name for path in stack.iterdir() if str(path) in dry["dropped"] and not path.exists()]
        did = said_json(capsys, *words)
        assert did == dry | {"dry_run": False} and did["dropped"] and did["losing"] == []
        assert all(not Path(path).exists() for path in did["dropped"])
    assert memories(stack)["5"] == before["5"] and leftovers(stack) == []


def test_one_line(stack: Path, capsys: Said) -> None:
    for words, wanted in (
        (("drop", stack / "2", "--dry-run"), "would drop 2; 3 would take 1 page"),
        (("drop", stack / "2"), "dropped 2; 3 took 1 page (4.0 KiB)"),
        (("drop", "--stack", stack, "4", "3"), "dropped 3, 4; 5 took 3 pages"),
        (("undo", stack / "4", "--as", "four", "--dry-run"), f"would bring back 4 as {stack}/four; 4 would take"),
        (("undo", stack), f"brought back 3 as {stack}/3"),
        (("undo", "--stack", stack, "4"), f"brought back 4 as {stack}/4"),
        (("squash", "--stack", stack, "3..4"), "squashed 3..4 into 4"),
        (("squash", f"{stack}/1..{stack}/5"), "squashed 1..5 into 5, kept 1, which others need"),
        (("trash", stack, "--empty", "3"), "removed 3 for good; "),
        (("trash", stack, "--empty", "--dry-run"), "would remove 2 for good; "),
        (("trash", stack, "--empty"), "removed 2 for good; "),
        (("trash", stack), f"the trash of {stack} is empty"),
        (("pin", stack / "1", "it works"), f"{stack}/1 is pinned: it works"),
        (("label", stack / "5", "end"), f"{stack}/5 is called end"),
        (("unpin", "--stack", stack, "1"), f"{stack}/1 is no longer pinned"),
    ):
        status, out, err = run(capsys, *words)
        assert status == 0 and out.startswith(wanted) and out.count("\n") == 1, (words, out, err)


def test_what_is_refused(stack: Path, tmp_path: Path, capsys: Said) -> None:
    run(capsys, "pin", stack / "2")
    (tmp_path / "other").mkdir()
    chain_of(tmp_path / "other", 1)
    for words, status, wanted in (
        (("drop", stack / "2"), 1, "it is pinned"),
        (("drop", stack / "1", tmp_path / "other/1"), 2, "several stacks"),
        (("squash", f"{stack}/1"), 2, "not of the form A..B"),
        (("squash", f"{stack}/1..{stack}/9"), 1, "no such directory"),
        (("squash", f"{stack}/5..1"), 1, "5 is no ancestor of 1"),
        (("undo",), 2, "in which stack?"),
        (("undo", stack), 1, "holds nothing"),
        (("prune", stack), 2, "no rule says what to keep"),
        (("prune", stack, "--keep-every", "10"), 2, "not a time"),
        (("prune", stack, "--keep-last", "-1"), 2, ""),
        (("prune", stack, "--max-bytes", "2X"), 2, "not a size"),
        (("trash", stack, "--dry-run"), 2, "only lists"),
        (("label", stack / "1", "2"), 1, "is called 2 already"),
    ):
        found, _, err = run(capsys, *words)
        assert found == status and wanted in err and err.count("\n") == 1, (words, found, err)


def test_names_with_dots(tmp_path: Path, capsys: Said) -> None:
    """ "a..b" is a name, too: the range is cut where both sides are layers."""
    layers = chain_of(tmp_path / "S", 3)
    layers[1].directory.rename(tmp_path / "S/a..b")
    (tmp_path / "S/3/parent").unlink()
    (tmp_path / "S/3/parent").symlink_to("../a..b")
    status, out, err = run(capsys, "squash", f"{tmp_path}/S/../S/a..b..3")
    assert status == 0 and out.startswith("squashed a..b..3 into 3"), err
    assert Layer(tmp_path / "S/3").parent_link == "../1"


def test_the_trash_is_listed(stack: Path, capsys: Said) -> None:
    run(capsys, "label", stack / "3", "three")
    run(capsys, "drop", stack / "3", stack / "4")
    value = said_json(capsys, "trash", stack)
    assert [it["name"] for it in value["layers"]] == ["3", "4"] and value["layers"][0]["label"] == "three"
    assert value["disk_bytes"] == sum(it["disk_bytes"] for it in value["layers"]) > 0
    assert value["layers"][1]["parent_dir"].endswith("/.lamina-trash.3")
    _, out, _ = run(capsys, "trash", stack)
    assert out.splitlines()[0].split() == ["LAYER", "DROPPED", "ON", "DISK", "PARENT", "LABEL"] and len(out.splitlines()) == 3


def test_prune_prints_what_stays_and_why(stack: Path, capsys: Said) -> None:
    run(capsys, "pin", stack / "2")
    value = said_json(capsys, "prune", stack, "--keep-last", "1", "--dry-run")
    kept = {Path(it["layer"]).name: it["kept_by"] for it in value["layers"]}
    assert kept == {"5": ["newest", "keep-last"], "4": [], "3": [], "2": ["pinned"], "1": []}
    _, out, _ = run(capsys, "prune", stack, "--keep-last", "1")
    assert "goes: no rule keeps it, to the trash" in out and out.splitlines()[-1].startswith(f"pruned {stack}: 3 of 5 layers go, 2 stay; ")
    assert sorted(layer.name for layer in Stack.open(stack).layers) == ["2", "5"]
