"""PageRuns against the plain model: a Python set of page numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns

TOP = 400
PAIRS = st.lists(st.tuples(st.integers(0, TOP), st.integers(0, 40)).map(lambda p: (p[0], min(p[0] + p[1], TOP))), max_size=25)


def runs_of(pairs: list[tuple[int, int]]) -> PageRuns:
    return PageRuns.of([(start * PAGE, end * PAGE) for start, end in pairs])


def model_of(pairs: list[tuple[int, int]]) -> set[int]:
    return {page for start, end in pairs for page in range(start, end)}


def pages_of(runs: PageRuns) -> set[int]:
    return {page for start, end in runs for page in range(start // PAGE, end // PAGE)}


def assert_normal(runs: PageRuns) -> None:
    """Sorted, disjoint, merged, no empty run, and nobody can write into it."""
    assert (runs.starts < runs.ends).all()
    assert (runs.ends[:-1] < runs.starts[1:]).all()
    assert runs.starts.dtype == runs.ends.dtype == np.uint64
    assert not runs.starts.flags.writeable
    assert not runs.ends.flags.writeable


@given(PAIRS)
def test_holds_exactly_the_given_pages(pairs: list[tuple[int, int]]) -> None:
    runs, model = runs_of(pairs), model_of(pairs)
    assert_normal(runs)
    assert pages_of(runs) == model
    assert runs.pages == len(model)
    assert runs.bytes == len(model) * PAGE
    assert bool(runs) == bool(model)
    assert len(runs) == len(list(runs))
    assert runs.addresses().tolist() == [page * PAGE for page in sorted(model)]
    assert PageRuns.from_pages(runs.addresses()) == runs


@given(PAIRS, PAIRS)
def test_set_operations(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b, x, y = runs_of(left), runs_of(right), model_of(left), model_of(right)
    for result, expected in (
        (a | b, x | y),
        (a & b, x & y),
        (a - b, x - y),
        (a.union(b), x | y),
        (a.intersection(b), x & y),
        (a.difference(b), x - y),
        (a.missing_from(b), x - y),
    ):
        assert_normal(result)
        assert pages_of(result) == expected
    assert a.covers(b) == (y <= x)
    assert (a | b).covers(a)
    assert (a == b) == (x == y)
    assert x != y or hash(a) == hash(b)


@given(PAIRS, st.integers(0, TOP), st.integers(0, TOP))
def test_clip(pairs: list[tuple[int, int]], start: int, end: int) -> None:
    clipped = runs_of(pairs).clip(start * PAGE, end * PAGE)
    assert_normal(clipped)
    assert pages_of(clipped) == {page for page in model_of(pairs) if start <= page < end}


@given(PAIRS, st.integers(1, 50))
def test_split(pairs: list[tuple[int, int]], at_most: int) -> None:
    pieces = list(runs_of(pairs).split(at_most))
    for piece in pieces:
        assert_normal(piece)
    listed = [piece.addresses().tolist() for piece in pieces]
    assert all(len(piece) == at_most for piece in listed[:-1])
    assert all(0 < len(piece) <= at_most for piece in listed)
    assert sum(listed, []) == [page * PAGE for page in sorted(model_of(pairs))]  # noqa: RUF017 -- short lists


@given(PAIRS, st.integers(0, TOP * PAGE))
def test_contains_and_offsets(pairs: list[tuple[int, int]], address: int) -> None:
    runs = runs_of(pairs)
    assert (address in runs) == (address // PAGE in model_of(pairs))
    behind = 0
    for (start, end), offset in zip(runs, runs.offsets.tolist(), strict=True):
        assert offset == behind
        behind += end - start


def test_refuses_what_is_no_run_of_pages() -> None:
    with pytest.raises(ValueError, match="not a run"):
        PageRuns.of([(PAGE, 2 * PAGE + 1)])
    with pytest.raises(ValueError, match="not a run"):
        PageRuns.of([(2 * PAGE, PAGE)])
    with pytest.raises(ValueError, match="outside"):
        PageRuns.of([(-PAGE, PAGE)])
    with pytest.raises(ValueError, match="starts but"):
        PageRuns.from_arrays([0, PAGE], [PAGE])
    with pytest.raises(ValueError, match="pieces of"):
        list(PageRuns.of([(0, PAGE)]).split(0))
    with pytest.raises(ValueError, match="read-only"):
        PageRuns.of([(0, PAGE)]).starts[0] = 1


def test_top_of_the_address_space() -> None:
    vsyscall = 0xFFFF_FFFF_FF60_0000
    runs = PageRuns.of([(vsyscall, vsyscall + PAGE), (0, PAGE)])
    assert list(runs) == [(0, PAGE), (vsyscall, vsyscall + PAGE)]
    assert vsyscall in runs
    assert (runs - PageRuns.of([(0, PAGE)])).pages == 1


def test_large_sets_take_milliseconds() -> None:
    """65,000 scattered pages combined with 65,000 others: no loop over pages or runs."""
    even = PageRuns.from_pages(np.arange(0, 131072, 2, dtype=np.uint64) * PAGE)
    third = PageRuns.from_pages(np.arange(0, 131072, 3, dtype=np.uint64) * PAGE)
    assert len(even) == 65536
    assert (even & third).pages == 131072 // 6 + 1
    assert (even | third).pages == even.pages + third.pages - (even & third).pages
    assert (even - third).pages == even.pages - (even & third).pages
