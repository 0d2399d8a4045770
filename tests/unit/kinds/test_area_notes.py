"""What a mapping has beyond its record."""

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area
from lamina.core.image.supplement import AreaNote
from lamina.core.kinds.memory import area_notes, mempolicy
from lamina.core.objects.attempt import failures

PAGE = 4096


def area(at: int, path: str = "", flags: str = "") -> Area:
    return Area(at * PAGE, (at + 1) * PAGE, "rw-p", 0, "00:00", 0, path, frozenset(flags.split()))


def test_names_of_anonymous_memory() -> None:
    """Kept as the kernel shows them, and set again; a kernel without them says so once for each."""
    areas = [area(1), area(2, "[anon:heap of mine]"), area(3, flags="lo lf"), area(4, "[heap]")]
    found = area_notes.notes({areas[0].start: "bind:0"}, areas)
    notes = area_notes.save(found, areas)
    assert notes == (
        AreaNote(PAGE, 2 * PAGE, {"mempolicy": "bind:0"}), AreaNote(2 * PAGE, 3 * PAGE, {"name": "heap of mine"}),
        AreaNote(3 * PAGE, 4 * PAGE, {"mlock_onfault": 1}),
    )  # fmt: skip
    assert area_notes.locked_on_fault(notes) == {3 * PAGE}
    calls = CallList()
    attempts = area_notes.rebuild(notes, 7, calls)
    assert [call.name for call in calls.calls] == ["mbind", "prctl"]
    assert failures(attempts) == []
    calls.calls[1].result = -22
    (sentence,) = failures(attempts)
    assert "heap of mine" in sentence and "process 7" in sentence


def test_policies_are_written_as_the_kernel_writes_them() -> None:
    for text in ("bind:0-1", "prefer=static:3", "interleave=relative:0,2-4", "local", "bind:0+balancing", "weighted-interleave:1"):
        assert mempolicy.text_of(*mempolicy.parse(text)) == text
    assert mempolicy.text_of(0, 1) == "" == mempolicy.text_of(99, 1)
