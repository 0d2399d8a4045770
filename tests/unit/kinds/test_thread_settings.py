"""Settings of threads that only the supplement has: what is kept, what is set, and what is said when that fails."""

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import core_entry
from lamina.core.image.supplement import THREAD_FIELDS, Value
from lamina.core.kinds.memory.pkeys import ProtectionKeys
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.objects.attempt import failures
from lamina.core.objects.setting import Setting, list_of, mask_of
from lamina.core.objects.task_kind import Answer, CapturedTask, TaskRecord, ThreadRecord

SETTINGS = [kind for kind in ATTRIBUTES.threads if isinstance(kind, Setting)]


def test_every_setting_has_a_field() -> None:
    assert {setting.name for setting in SETTINGS} == set(THREAD_FIELDS) - {"cgroups"}


def test_what_is_set_is_what_differs() -> None:
    """Not what is as it was, not what this kernel lacks and nobody had; what it lacks and somebody had is tried, and said."""
    usual: dict[str, Value | None] = {setting.name: setting.default for setting in SETTINGS}
    now = usual | {"ioprio": 7, "util_min": None, "util_max": None, "mempolicy": None}
    kept: dict[str, Value] = {}
    for setting in SETTINGS:
        kept |= setting.supplement(now[setting.name])
    assert kept == {"ioprio": 7}
    core = core_entry(mtype=core_entry.X86_64)

    def answering(value: Value | None) -> Answer:
        return lambda: value

    answers = {name: answering(value) for name, value in now.items()}
    record = ThreadRecord(42, core, TaskRecord(42, (42,), core), kept={"util_min": 200, "timer_slack_ns": 9}, answers=answers)
    calls = CallList()
    attempts = [attempt for setting in SETTINGS for attempt in setting.rebuild(record, calls)]
    assert [call.name for call in calls.calls] == ["ioprio_set", "prctl", "sched_setattr"]
    for call in calls.calls:
        call.result = -1
    assert [sentence.partition(": ")[0] for sentence in failures(attempts)] == ["thread 42"] * 3
    assert "uclamp" in failures(attempts)[2] and "200" in failures(attempts)[2]


def test_lists_of_processors() -> None:
    for mask in (0, 1, 0b1011, 1 << 200, (1 << 64) - 1):
        assert mask_of(list_of(mask)) == mask
    assert list_of(0b101110) == "1-3,5"
    assert mask_of("7-3") == 0


def test_protection_keys_are_refused() -> None:
    """pkey_mprotect(2) answers EINVAL for a key that is not allocated, and ENOMEM for memory that is not there."""
    task = CapturedTask(7, {})
    assert not [*ProtectionKeys().late_blockers([-22, -22], task)]
    assert [*ProtectionKeys().late_blockers([-22, -12], task)]
