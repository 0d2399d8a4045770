"""lm_owners_resolve, lm_owners_compare and lm_compare_*: against a model that goes page by page, and without a leak."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.compare_pages import OTHER, compare_owners, equal_pages, equal_stretches
from lamina.core.image.format import PageFlag
from lamina.core.image.owners import Pieces, pieces_of
from lamina.core.image.pagemap import PageMap
from tests.native.memory_victim import MIB, own_fds, own_rss

PAGES = 24
# What a map says of one page: nothing, or the flags of its entry.
STATES = (None, PageFlag.PARENT, PageFlag.PRESENT, PageFlag.LAZY, PageFlag.PARENT | PageFlag.LAZY)


def map_of(states: list[PageFlag | None], cuts: set[int]) -> PageMap:
    """The runs of pages with equal flags, also cut where *cuts* says."""
    runs: list[tuple[int, int, int]] = []
    for page, flags in enumerate(states):
        if flags is None:
            continue
        if runs and runs[-1][0] + runs[-1][1] == page and runs[-1][2] == flags and page not in cuts:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, flags)
        else:
            runs.append((page, 1, flags))
    table = np.array(runs, dtype=np.uint64).reshape(-1, 3)
    vaddr, sizes = np.ascontiguousarray(table[:, 0] * np.uint64(PAGE)), np.ascontiguousarray(table[:, 1])
    return PageMap(1, vaddr, sizes, table[:, 2].astype(np.uint32))


Answer = tuple[int, int, int] | None


def naive(layers: list[list[PageFlag | None]], page: int) -> Answer:
    """(owner, kind, offset) of one page, one link at a time."""
    if layers[0][page] is None:
        return None
    for at, states in enumerate(layers):
        flags = states[page]
        if flags is None:
            return at, C.LM_OWNED_MISSING, 0
        if flags & PageFlag.PARENT:
            continue
        if not flags & PageFlag.PRESENT:
            return at, C.LM_OWNED_NOWHERE, 0
        before = sum(1 for it in states[:page] if it is not None and it & PageFlag.PRESENT)
        return at, C.LM_OWNED_DATA, before * PAGE
    return len(layers), C.LM_OWNED_MISSING, 0


def by_page(pieces: Pieces) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    columns = (pieces.starts, pieces.ends, pieces.offsets, pieces.owners, pieces.kinds)
    for start, end, offset, owner, kind in zip(*(column.tolist() for column in columns), strict=True):
        for address in range(start, end, PAGE):
            assert address // PAGE not in found
            found[address // PAGE] = owner, kind, offset + address - start if kind == C.LM_OWNED_DATA else 0
    return found


layers_of_states = st.lists(st.lists(st.sampled_from(STATES), min_size=PAGES, max_size=PAGES), min_size=1, max_size=6)
# More than 64 layers: the bits of a chain are more than one word.
deep = st.integers(60, 140).flatmap(
    lambda depth: st.lists(st.sampled_from(STATES[:3]), min_size=PAGES, max_size=PAGES).map(
        lambda last: [[PageFlag.PARENT] * PAGES] * depth + [last]
    )
)


@settings(max_examples=300, deadline=None)
@given(layers_of_states | deep, st.sets(st.integers(1, PAGES - 1)))
def test_pieces_are_those_of_the_model(layers: list[list[PageFlag | None]], cuts: set[int]) -> None:
    pieces = pieces_of([map_of(states, cuts) for states in layers])
    assert by_page(pieces) == {page: it for page in range(PAGES) if (it := naive(layers, page)) is not None}
    assert (pieces.starts < pieces.ends).all() and (pieces.ends[:-1] <= pieces.starts[1:]).all()
    touching = pieces.ends[:-1] == pieces.starts[1:]
    alike = (pieces.owners[:-1] == pieces.owners[1:]) & (pieces.kinds[:-1] == pieces.kinds[1:])
    assert not (touching & alike).any(), "neighbours of one owner are one piece"


@settings(max_examples=300, deadline=None)
@given(layers_of_states, layers_of_states, st.integers(0, 6))
def test_places_are_compared_as_the_model_does(a: list[Any], b: list[Any], shared: int) -> None:
    """The last *shared* layers of both are the same ones, as below a branch."""
    shared = min(shared, len(a))
    b = b + a[len(a) - shared :]
    first, second = (pieces_of([map_of(states, set()) for states in it]).data for it in (a, b))
    numbers = np.arange(len(b) + 1, dtype=np.uint16) + np.uint16(100)
    for back in range(1, shared + 1):
        numbers[len(b) - back] = len(a) - back
    places = compare_owners(first, second.renumbered(numbers))
    seen: dict[int, int] = {}
    for start, end, kind in zip(places.starts.tolist(), places.ends.tolist(), places.kinds.tolist(), strict=True):
        seen |= dict.fromkeys(range(start // PAGE, end // PAGE), kind)
    ours = {page: (owner, offset) for page, (owner, _, offset) in by_page(first).items()}  # type: ignore[misc]  # none is None
    theirs = {page: (int(numbers[owner]), offset) for page, (owner, _, offset) in by_page(second).items()}  # type: ignore[misc]
    for page in range(PAGES):
        if page not in ours and page not in theirs:
            assert page not in seen
        elif page in ours and page in theirs:
            assert seen[page] == (C.LM_PIECE_SAME if ours[page] == theirs[page] else C.LM_PIECE_OTHER)
        else:
            assert seen[page] == (C.LM_PIECE_GONE if page in ours else C.LM_PIECE_ADDED)
    other = places.kinds == OTHER
    for side, at in ((first, places.at_a[other]), (second, places.at_b[other])):
        assert (side.starts[at] <= places.starts[other]).all() and (places.ends[other] <= side.ends[at]).all()


def test_a_chain_has_a_length() -> None:
    empty = map_of([None] * PAGES, set())
    assert not len(pieces_of([empty]))
    with pytest.raises(NativeError, match="a chain has 1 to 4096 layers"):
        pieces_of([empty] * 4097)
    err = new_error()
    columns = [ffi.new(f"{kind}[1]") for kind in ("uint64_t", "uint64_t", "uint64_t", "uint16_t", "uint8_t")]
    table = ffi.new("lm_owner_map[1]")
    two = map_of([PageFlag.PRESENT, None, PageFlag.PRESENT], set())
    table[0].vaddr, table[0].pages = ffi.from_buffer("uint64_t[]", two.vaddr), ffi.from_buffer("uint64_t[]", two.pages)
    table[0].flags, table[0].count = ffi.from_buffer("uint32_t[]", two.flags), 2
    with pytest.raises(NativeError, match="more pieces than there is room for"):
        check(C.lm_owners_resolve(table, 1, PAGE, 1, *columns, err), err)


def test_equal_pages_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2, 40 * PAGE, dtype=np.uint8)
    b = a.copy()
    differing = {0, 7, 39}
    for page in differing:
        b[page * PAGE + int(rng.integers(PAGE))] ^= 1
    expected = np.array([page not in differing for page in range(40)])
    assert np.array_equal(equal_pages(a.tobytes(), b.tobytes()), expected)
    (tmp_path / "a").write_bytes(a.tobytes())
    (tmp_path / "b").write_bytes(b"x" * PAGE + b.tobytes())
    with (tmp_path / "a").open("rb") as one, (tmp_path / "b").open("rb") as two:
        starts, sizes = np.array([0, 20 * PAGE], dtype=np.uint64), np.array([20 * PAGE, 20 * PAGE], dtype=np.uint64)
        found = equal_stretches(one.fileno(), starts, two.fileno(), starts + np.uint64(PAGE), sizes, buffer_bytes=6 * PAGE)
        assert np.array_equal(found, expected)
        with pytest.raises(NativeError, match="the file ends at"):
            equal_stretches(one.fileno(), starts + np.uint64(PAGE), two.fileno(), starts, sizes)
        with pytest.raises(NativeError, match="smaller than two pages"):
            equal_stretches(one.fileno(), starts, two.fileno(), starts, sizes, buffer_bytes=PAGE)
        with pytest.raises(NativeError, match="not one of whole pages"):
            equal_stretches(one.fileno(), starts, two.fileno(), starts, sizes - np.uint64(1))
    with pytest.raises(NativeError):
        equal_stretches(10_000, starts, 10_001, starts, sizes)


def test_nothing_leaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(64 * PAGE))
    rng = np.random.default_rng(1)
    maps = [map_of([STATES[it] for it in rng.integers(0, 3, 4000)], set()) for _ in range(20)]
    zero, sizes = np.zeros(1, dtype=np.uint64), np.array([64 * PAGE], dtype=np.uint64)

    def once() -> None:
        pieces = pieces_of(maps).data
        compare_owners(pieces, pieces)
        with (tmp_path / "file").open("rb") as file:
            assert equal_stretches(file.fileno(), zero, file.fileno(), zero, sizes).all()

    for _ in range(20):
        once()
    fds, rss = own_fds(), own_rss()
    for _ in range(300):
        once()
    assert own_fds() == fds
    assert own_rss() - rss < 4 * MIB
