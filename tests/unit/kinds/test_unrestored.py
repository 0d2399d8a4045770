"""A security profile is not lost in silence."""

import pytest

from lamina.core.image.schema import core_entry
from lamina.core.kinds.thread import unrestored


def test_a_security_profile_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    core = core_entry(mtype=core_entry.X86_64)
    core.thread_core.creds.lsm_profile = "docker-default"
    (found,) = unrestored.thread_blockers(core)
    assert "docker-default" in found.why
    monkeypatch.setattr(unrestored, "own_label", lambda: "docker-default")
    assert unrestored.thread_blockers(core) == []
