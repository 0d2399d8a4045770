"""A security profile is not lost in silence."""

import pytest

from lamina.core.image.schema import core_entry
from lamina.core.kinds.thread import security
from lamina.core.objects.task_kind import Machine, TaskRecord, ThreadRecord


def test_a_security_profile_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    core = core_entry(mtype=core_entry.X86_64)
    core.thread_core.creds.lsm_profile = "docker-default"
    kind, record, machine = security.SecurityProfile(), ThreadRecord(7, core, TaskRecord(7, (7,), core)), Machine(frozenset(), 1 << 47, 0)
    (found,) = kind.plan(record, machine)
    assert "docker-default" in found.why
    monkeypatch.setattr(security, "own_label", lambda: "docker-default")
    assert not [*kind.plan(record, machine)]
