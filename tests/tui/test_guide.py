"""The guide promises nothing that is not so."""

from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.attach.identity import Identity
from lamina.tui.demo.first_minute import FIRST_MINUTE
from lamina.tui.model.guide import Guide
from lamina.tui.model.journal import Journal
from lamina.tui.model.session import Session
from lamina.tui.model.target import Target


def test_a_program_that_is_not_tracked_is_written_whole_and_the_guide_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    guide = Guide("demo", FIRST_MINUTE[1:])
    tracked = Target(7, "crystal", Identity(7, 1, "boot"), tmp_path, tracker="uffd-wp async")
    guide.follow(Session(target=tracked), Journal())
    assert "only those are written" in guide.line
    guide.follow(Session(target=replace(tracked, tracker="", why_untracked="it became another program by exec")), Journal())
    assert "only those" not in guide.line and "not tracked" in guide.line
