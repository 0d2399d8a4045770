"""Stretches of private memory: no private area is ever cut by one, whatever it grows to between its neighbours that stay."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.attach.procfs import Area
from lamina.core.dirty.registration import Registration
from lamina.core.dirty.runs import PAGE
from lamina.core.dirty.scan import is_private

KINDS = st.sampled_from([("rw-p", ""), ("r--p", "/lib/x"), ("rw-s", "/dev/shm/x"), ("r-xp", "[vdso]"), ("r--p", "[vvar]")])


@st.composite
def maps(draw: st.DrawFn) -> list[Area]:
    at, found = 16, []
    for gap, size, (perms, path) in draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 8), KINDS), max_size=20)):
        at += gap
        found.append(Area(at * PAGE, (at + size) * PAGE, perms, 0, "00:00", 0, path))
        at += size
    return found


@given(maps())
def test_stretches_hold_all_private_areas_and_their_gaps_and_nothing_else(areas: list[Area]) -> None:
    stretches = list(Registration().stretches(areas))
    assert [area for stretch in stretches for area in stretch.areas] == [
        area for area in areas if is_private(area) and area.path != "[vdso]"
    ]
    for stretch in stretches:
        assert stretch.areas
        for area in areas:
            if area in stretch.areas:
                assert stretch.start <= area.start < area.end <= stretch.end
            else:
                assert area.end <= stretch.start or area.start >= stretch.end
    for before, after in pairwise(stretches):
        assert before.end <= after.start


def test_the_legacy_call_page_lies_outside() -> None:
    stack = Area(0x7FFF_0000_0000, 0x7FFF_0002_0000, "rw-p", 0, "00:00", 0, "[stack]")
    vsyscall = Area(0xFFFF_FFFF_FF60_0000, 0xFFFF_FFFF_FF60_1000, "--xp", 0, "00:00", 0, "[vsyscall]")
    (stretch,) = Registration().stretches([stack, vsyscall])
    assert (stretch.start, stretch.end) == (stack.start, 0x7FFF_FFFF_F000)
