"""Fixtures: victims that are reaped, and state directories of the test's own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import Reaper, end_holders, need_root, reaping


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the user's stacks nor what lamina remembers of other processes is touched; no program is left running in a terminal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "remembered"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield
    if (tmp_path / "remembered" / "terminals").exists():
        end_holders()


@pytest.fixture(autouse=True)
def own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal of whoever runs the tests decides nothing."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    need_root()
    # `restore --replace` ends a program only if its parent shows that it reaps; we do, while we look at the screen.
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    with reaping() as found:
        yield found
    signal.signal(signal.SIGCHLD, before)
