"""Arithmetic of address spaces, against a model that counts every page."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.errors import ImageError
from lamina.core.restore.layout import LOWEST, MARGIN, USER_LIMIT, free_span, merged, outside, whole_blocks

SMALL = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=8)


def points(spans: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


@given(SMALL)
def test_merged_is_the_same_set_in_order(spans: list[tuple[int, int]]) -> None:
    found = merged(spans)
    assert points(found) == points(spans)
    assert all(start < end for start, end in found)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


@given(SMALL, st.integers(1, 70))
def test_outside_is_the_rest(spans: list[tuple[int, int]], limit: int) -> None:
    assert points(outside(spans, limit)) == set(range(limit)) - points(spans)


def test_outside_leaves_the_scratch_range_and_the_kernels_areas() -> None:
    scratch, vdso = (0x5000_0000, 0x5001_0000), (0x7FFF_0000_0000, 0x7FFF_0000_8000)
    assert outside([vdso, scratch]) == [(0, scratch[0]), (scratch[1], vdso[0]), (vdso[1], USER_LIMIT)]


GIB = 1 << 30
AREA = st.tuples(st.integers(0, 1 << 17), st.integers(1, 1 << 14)).map(lambda it: (it[0] * GIB, (it[0] + it[1]) * GIB))
LARGE = st.lists(AREA, max_size=6)


@given(LARGE, LARGE, st.integers(1, 300))
def test_scratch_is_free_in_both_layouts_with_room_on_both_sides(
    image: list[tuple[int, int]], now: list[tuple[int, int]], pages: int
) -> None:
    size = pages * 4096
    try:
        start = free_span([*image, *now], size)
    except ImageError:
        assert all(end - max(begin, LOWEST) < size + 2 * MARGIN for begin, end in outside([*image, *now]))
        return
    assert start % 4096 == 0 and start >= LOWEST
    for begin, end in (*image, *now):
        assert start + size + MARGIN <= begin or end + MARGIN <= start + 4096


def test_a_full_address_space_is_refused() -> None:
    with pytest.raises(ImageError, match="no free gap"):
        free_span([(0, USER_LIMIT - MARGIN)], 1 << 20)


def test_an_area_inside_another_hides_no_gap() -> None:
    start = free_span([(0, 1 << 40), (1 << 30, 1 << 31), (1 << 41, USER_LIMIT)], 4096)
    assert 1 << 40 < start < 1 << 41


@given(SMALL)
def test_whole_blocks(spans: list[tuple[int, int]]) -> None:
    found = whole_blocks([start for start, _ in spans], [end for _, end in spans], 8)
    for start, end in found:
        assert start % 8 == end % 8 == 0 and start < end
    expected = {at // 8 for start, end in spans for at in range(start, end - 7) if at % 8 == 0}
    assert {at // 8 for at in points(found)} == expected
