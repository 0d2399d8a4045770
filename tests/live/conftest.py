"""Fixtures of the live tests."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import FULL, Layers, Reaper, need_root, reaping

# What needs compilers and servers that are too large for `make test`.
collect_ignore = [] if FULL else ["test_go_programs.py", "test_memcached.py"]


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    need_root()
    with reaping() as found:
        yield found


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path / "S")


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A receiver's memory."""
    need_root()
    place = tmp_path / "R"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1G", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)
