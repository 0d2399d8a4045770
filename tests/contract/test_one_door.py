"""Contracts the import checker cannot express: it does not see the compiled module, nor calls."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "core").rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_only_ffi_opens_the_door_to_c() -> None:
    users = {path.relative_to(ROOT).as_posix() for path in CORE if any("_native" in name for name in imports_of(path))}
    assert users == {"core/ffi.py"}
