"""owners and diff as a user types them: text, JSON, and one line for what cannot be."""

import json
from pathlib import Path

import pytest

from lamina.core.cli import main
from lamina.core.image.layer import Layer
from lamina.core.rewrite.dedup import apply_dedup, plan_dedup
from tests.unit.image.layers import BASE, Spec, address, make


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "S"
    make(path, "1", Spec({7: {1, 2, 3}, 8: {5}}), tag=1, label="first")
    make(path, "2", Spec({7: {2, 9}, 8: {5}}, {7: {1}}), "1", tag=2)
    return path


def say(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    assert main([str(word) for word in words]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def test_owners_as_text(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = say(capsys, "owners", stack / "2")
    assert f"process 7 (victim) of {stack / '2'}: 3 pages (12.0 KiB) from 2 layers" in text
    assert "a  2          2" in text and "b  1          1" in text and ".ba......a." in text
    assert "process 8 (victim)" in text and ". in no image (zero, or the file's own)" in text
    assert "process 7" not in say(capsys, "owners", stack / "2", 8)


def test_owners_as_runs_and_json(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = say(capsys, "owners", "--stack", stack, "2", 7, "--runs").splitlines()[2:]
    assert lines == [
        f"{address(1):x}-{address(2):x}  1  1  0x0",
        f"{address(2):x}-{address(3):x}  1  2  0x0",
        f"{address(9):x}-{address(10):x}  1  2  0x1000",
    ]
    (found,) = json.loads(say(capsys, "owners", stack / "2", 7, "--json"))["objects"]
    assert found["pages"] == 3 and [it["layer"] for it in found["chain"]] == ["2", "1"]
    assert found["runs"][0] == {"start": address(1), "end": address(2), "owner": 1, "offset": 0, "state": "data"}
    assert found["areas"][0]["area"]["start"] == BASE
    apply_dedup(plan_dedup(Layer(stack / "2")))
    text = say(capsys, "owners", "--stack", stack, "first", 7)
    assert "1 punched" in text and ".a!a" in text and "! punched" in text
    assert "punched" in say(capsys, "owners", stack / "1", 7, "--runs")


def test_diff_as_text_and_json(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = say(capsys, "diff", stack / "1", stack / "2", "--pages")
    assert "tasks: 2 the same, 0 changed, 0 added, 0 gone" in text
    assert "descriptors: no difference" in text and "areas: no difference" in text
    assert "pages of process 7: 1 the same, 1 changed, 1 added, 1 gone" in text
    assert f"  added  {address(9):x}-{address(10):x}  1 page (4.0 KiB)" in text
    text = say(capsys, "diff", "--stack", stack, "first", "2", "--map")
    assert "pages of process 7 (by map): 1 the same, 1 maybe changed, 1 added, 1 gone" in text
    value = json.loads(say(capsys, "diff", stack / "1", stack / "2", "--json"))
    assert value["differs"] and not value["by_map"] and value["tasks"]["same"] == 2
    memory = {it["which"]: it["pages"] for it in value["memory"]}
    assert memory[7]["changed"] == {"pages": 1, "runs": [[address(2), address(3)]]}
    assert memory[7]["gone"]["runs"] == [[address(3), address(4)]] and memory[8]["changed"]["pages"] == 1
    assert not json.loads(say(capsys, "diff", stack / "2", stack / "2", "--json"))["differs"]


def test_a_page_side_by_side(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = say(capsys, "diff", stack / "1", stack / "2", "--hex", f"{address(2) + 5:x}")
    assert f"page {address(2):x} of process 7" in text and "64 bytes differ, marked by *" in text
    assert "6c 61 79 65 72 20*31 20" in text and "6c 61 79 65 72 20*32 20" in text
    text = say(capsys, "diff", stack / "1", stack / "2", "--hex", f"7:{address(9):x}")
    assert f"a: {stack / '1'} (does not hold it: shown as zeros)" in text
    assert "the same content" in say(capsys, "diff", stack / "2", stack / "1", "--hex", f"7:0x{address(1):x}")
    value = json.loads(say(capsys, "diff", stack / "1", stack / "2", "--hex", f"{address(9):x}", "--json"))
    assert value["page_a"] is None and bytes.fromhex(value["page_b"]).startswith(b"layer 2 pid 7 page 9;")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("diff", "1"), "compare with what?: give a second layer, or --live PID, and not both"),
        (("diff", "1", "2", "--live", "7"), "compare with what?"),
    ],
)
def test_wrong_usage(stack: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str) -> None:
    assert why in say(capsys, *words, "--stack", stack, status=2)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("owners", "1", "9"), "no such process in layer"),
        (("owners", "9"), "no such layer 9"),
        (("diff", "1", "9"), "no such layer 9"),
        (("diff", "1", "2", "--hex", "1000"), "cannot show page 0x1000: neither side holds such a page"),
        (("diff", "1", "2", "--hex", "9:1000"), "neither side holds such a page of task 9"),
        (("diff", "1", "--live", "4194304"), "no such process 4194304"),
    ],
)
def test_what_cannot_be_is_one_line(stack: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str) -> None:
    said = say(capsys, *words, "--stack", stack, status=1)
    assert why in said and len(said.splitlines()) == 1


def test_a_page_that_two_tasks_have(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(stack, "3", Spec({7: {5}, 8: {5}}), tag=3)
    said = say(capsys, "diff", stack / "3", stack / "1", "--hex", f"{address(5):x}", status=1)
    assert "tasks 7, 8 have one there" in said and f"(say which: PID:{address(5):x})" in said
    make(stack, "4", Spec({7: {1}}), tag=3)
    apply_dedup(plan_dedup(Layer(stack / "2")))
    said = say(capsys, "diff", stack / "1", stack / "4", "--hex", f"7:{address(2):x}", status=1)
    assert "has lost its content" in said
