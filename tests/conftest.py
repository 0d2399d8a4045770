"""For every test: the order of the rooms, the table of what was run, and that a skip is a failure where CI=true."""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# Nothing is timed where other things may run.
settings.register_profile("lamina", deadline=None)
settings.load_profile("lamina")

# Cheap and telling first: a broken page run should not be found by a redis that came back wrong.
ROOMS = ("contract", "unit", "native", "fuzz", "live", "tui")


_RUN: Counter[str] = Counter()


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


@pytest.fixture
def tally() -> Counter[str]:
    """Counts what was really done: `tally["restore of redis-server"] += 1`."""
    return _RUN


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several worker processes each hands its counts to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = dict(_RUN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended."""
    _RUN.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _RUN:
        return
    width = max(len(what) for what in _RUN)
    terminalreporter.section("what was run, and how often")
    for what, times in sorted(_RUN.items()):
        terminalreporter.write_line(f"{what:<{width}}  {times:>6}")
