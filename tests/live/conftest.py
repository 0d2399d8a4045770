"""Fixtures of the live tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, need_root, reaping


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    need_root()
    with reaping() as found:
        yield found


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path / "S")
