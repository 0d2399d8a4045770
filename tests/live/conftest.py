"""Fixtures of the live tests, and the table of what was run and how often."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.harness import Layers, Reaper, need_root, reaping

_RUN: Counter[str] = Counter()


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    need_root()
    with reaping() as found:
        yield found


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path / "S")


@pytest.fixture
def tally() -> Counter[str]:
    """Counts what was really done: `tally["restore of redis-server"] += 1`."""
    return _RUN


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _RUN:
        return
    width = max(len(what) for what in _RUN)
    terminalreporter.section("what was run, and how often")
    for what, times in sorted(_RUN.items()):
        terminalreporter.write_line(f"{what:<{width}}  {times:>6}")
