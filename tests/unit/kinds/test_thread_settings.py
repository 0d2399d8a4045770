"""Settings of threads that only the supplement has: what is kept, what is set, and what is said when that fails."""

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import THREAD_FIELDS
from lamina.core.kinds.memory import pkeys
from lamina.core.kinds.thread import thread_settings
from lamina.core.objects.setting import list_of, mask_of, said


def test_every_setting_has_a_field() -> None:
    assert {setting.name for setting in thread_settings.SETTINGS} == set(THREAD_FIELDS) - {"cgroups"}


def test_what_is_set_is_what_differs() -> None:
    """Not what is as it was, not what this kernel lacks and nobody had; what it lacks and somebody had is tried, and said."""
    usual = {setting.name: setting.default for setting in thread_settings.SETTINGS}
    now = usual | {"ioprio": 7, "util_min": None, "util_max": None, "mempolicy": None}
    assert thread_settings.to_keep(now) == {"ioprio": 7}
    calls = CallList()
    wanted = thread_settings.rebuild({"util_min": 200, "timer_slack_ns": 9}, now, 42, thread_core_entry(), calls)
    assert [call.name for call in calls.calls] == ["ioprio_set", "prctl", "sched_setattr"]
    for call in calls.calls:
        call.result = -1
    assert [sentence.partition(": ")[0] for sentence in said(wanted)] == ["thread 42"] * 3
    assert "uclamp" in said(wanted)[2] and "200" in said(wanted)[2]


def test_lists_of_processors() -> None:
    for mask in (0, 1, 0b1011, 1 << 200, (1 << 64) - 1):
        assert mask_of(list_of(mask)) == mask
    assert list_of(0b101110) == "1-3,5"
    assert mask_of("7-3") == 0


def test_protection_keys_are_refused() -> None:
    """pkey_mprotect(2) answers EINVAL for a key that is not allocated, and ENOMEM for memory that is not there."""
    free, held = Call("pkey_mprotect", (), result=-22), Call("pkey_mprotect", (), result=-12)
    assert not pkeys.Question((free, free)).blockers()
    assert pkeys.Question((free, held)).blockers()
