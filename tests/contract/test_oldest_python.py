"""Python 3.11.0 is enough. mypy knows what came with 3.12; it does not know what came with a later 3.11, and Debian 12 has 3.11.2."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Keyword arguments that the library's reference marks "Changed in version 3.11.N", by the names of the functions that take them.
LATER_ARGUMENTS = {
    "filter": {"extract", "extractall", "unpack_archive"},  # 3.11.4
    "strict": {"getaddresses", "parseaddr"},  # 3.11.10
}


def too_new(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            for keyword in node.keywords:
                if called in LATER_ARGUMENTS.get(keyword.arg or "", ()):
                    yield f"line {node.lineno}: {called}({keyword.arg}=...)"


@pytest.mark.parametrize("source", ["t.extractall(p, filter='data')", "unpack_archive(a, filter='tar')", "parseaddr(a, strict=True)"])
def test_what_is_too_new_is_seen(source: str) -> None:
    assert list(too_new(source))


def test_nothing_needs_a_later_release_of_3_11() -> None:
    files = [path for top in ("core", "tui", "native", "tests", "benches", "screenshots") for path in (ROOT / top).rglob("*.py")]
    assert len(files) > 300
    found = [f"{path.relative_to(ROOT)}, {what}" for path in files for what in too_new(path.read_text())]
    assert found == []
