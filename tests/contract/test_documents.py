"""What documents and docstrings name is there, and prose ends at 140 columns."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SOURCES = sorted(path for top in ("core", "tui", "native", "benches") for path in (ROOT / top).rglob("*.py"))
OURS = ("core", "tui", "native", "tests", "benches", "screenshots", "docs")
# A path in a sentence, and a name in Python.
PATH = re.compile(r"`(?:\w+/)*\w+(?:/|\.(?:py|c|h|md|toml|proto))(?:\.\w+)?`|(?<=\]\()[\w/]+\.md")
NAME = re.compile(r"\blamina\.(?:core|tui)(?:\.(?!__)\w+)+")
WIDTH = 140


def is_there(path: str, document: Path) -> bool:
    """A path of the tree, or beside the document, or the end of one."""
    beside = (ROOT / path).exists() or (document.parent / path).exists()
    return beside or any(next((ROOT / top).rglob(path), None) for top in OURS)


def missing_paths(text: str, document: Path) -> Iterator[str]:
    for found in PATH.findall(text):
        path = found.strip("`")
        if (path.split("/")[0] in OURS or path.endswith((".py", ".md"))) and not is_there(path, document):
            yield path


def missing_names(text: str) -> Iterator[str]:
    for name in NAME.findall(text):
        words = name.split(".")[1:]
        at = ROOT
        while words and (at / words[0]).is_dir():
            at /= words.pop(0)
        if words and not (file := at / f"{words[0]}.py").exists():
            file = at / "__init__.py"
        elif words:
            words.pop(0)
        else:
            continue
        if words[:1] != ["_native"] and not all(re.search(rf"\b{word}\b", file.read_text()) for word in words):
            yield name


def wide_prose(text: str) -> Iterator[str]:
    code = False
    for line in text.splitlines():
        code ^= line.startswith("```")
        if len(line) > WIDTH and not code and not line.startswith(("|", "    ", "!")):
            yield line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document(document: Path) -> None:
    text = document.read_text()
    assert not list(wide_prose(text))
    if document.name != "CHANGELOG.md":
        assert not list(missing_paths(text, document))
        assert not list(missing_names(text))


def test_docstrings_and_comments_name_what_is_there() -> None:
    found = {str(path.relative_to(ROOT)): names for path in SOURCES if (names := list(missing_names(path.read_text())))}
    assert not found


def test_what_is_missing_is_seen() -> None:
    text = "see `core/dump/no_such.py`, [this](none.md) and `no_such.py`, not `include/linux/pid.h`"
    assert list(missing_paths(text, ROOT / "README.md")) == ["core/dump/no_such.py", "none.md", "no_such.py"]
    assert list(missing_names("as lamina.core.image.layer.Layer, lamina.core.image.nothing and lamina.core.image.layer.Nothing do")) == [
        "lamina.core.image.nothing", "lamina.core.image.layer.Nothing",
    ]  # fmt: skip
    assert list(wide_prose("x" * 141 + "\n| " + "x" * 141)) == ["x" * 141]
