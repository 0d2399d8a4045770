"""What holds for every test: the order of the rooms, and that a skip is a failure where CI=true."""

import os
from collections.abc import Generator
from typing import Any

import pytest

# Cheap and telling first: a broken page run should not be found by a redis that came back wrong.
ROOMS = ("contract", "unit", "native", "fuzz", "live", "tui")


def _room(item: pytest.Item) -> int:
    words = item.path.parts
    return next((n for n, room in enumerate(ROOMS) if room in words), len(ROOMS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_room)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Under CI a test that cannot run here is a failure: .ci/run installs what the tests need."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {reason}"
    return report
