"""What is handed out is whole: the sdist can be built from, and the wheel made of it runs without this tree."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.corpus import extract
from tests.live.harness import ROOT

# What a build needs of the tree, as a user of git has it: nothing that an earlier build left.
SOURCES = ("core", "docs", "lamina", "native", "tui", "pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md",
           "ARCHITECTURE.md", "CONTRIBUTING.md", "Makefile")  # fmt: skip


def built(what: str, tree: Path, out: Path) -> Path:
    """An sdist or wheel of *tree*, by the build backend itself, with the tools that this environment has."""
    code = f"from setuptools import build_meta; print(build_meta.build_{what}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


def test_a_plain_clone_has_the_names_that_are_imported() -> None:
    links = {path.name: str(path.readlink()) for path in (ROOT / "lamina").iterdir() if path.is_symlink()}
    assert links == {"core": "../core", "tui": "../tui"}
    # -S: without what an editable install puts in the way.
    words = [sys.executable, "-S", "-c", "import lamina.core.errors as it, lamina.tui; print(it.__file__)"]
    assert subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == str(ROOT / "lamina/core/errors.py")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    made = shutil.ignore_patterns("__pycache__", "*.so", "_native.c")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=made)
        else:
            shutil.copy(ROOT / name, tree)
    return built("sdist", tree, tmp_path_factory.mktemp("sdist"))


def test_the_sdist_has_every_source_and_nothing_that_was_made(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        str(Path("" if top == "native" else "lamina") / path.relative_to(ROOT))
        for top in ("core", "tui", "native")
        for path in (ROOT / top).rglob("*")
        if path.suffix in {".py", ".pyi", ".c", ".h", ".proto", ".tcss", ".typed"} and path.name != "_native.c"
    }
    assert wanted - names == set()
    assert not [name for name in names if name.startswith(("core/", "tui/"))], "each file once"
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py", "lamina/__init__.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", "_native.c"))]


def test_a_wheel_made_of_the_sdist_runs_from_anywhere(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        extract(archive, tmp_path)
    [tree] = tmp_path.iterdir()
    wheel = built("wheel", tree, tmp_path)
    assert "-cp311-abi3-" in wheel.name, "one wheel for every Python from 3.11 on"
    shutil.rmtree(tree)
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"lamina", f"{wheel.name.rsplit('-', 3)[0]}.dist-info"}
        archive.extractall(installed)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": str(installed)}
    words = [sys.executable, "-c", "import lamina.core.ffi, lamina.tui.app.lamina; print(lamina.core.ffi.__file__)"]
    asked = subprocess.run(words, cwd="/", env=env, capture_output=True, text=True, check=True)
    assert asked.stdout.startswith(str(installed)), asked.stdout
    checked = subprocess.run([sys.executable, "-m", "lamina.tui", "check", "--json"], cwd="/", env=env, capture_output=True, check=True)
    assert json.loads(checked.stdout)["capabilities"]
