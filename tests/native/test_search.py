"""Patterns found in C, against the plainest search there is."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.ffi import C, ffi


def find(
    hay: bytes, pattern: bytes, mask: bytes | None = None, begin: int = 0, align: int = 1, phase: int = 0, room: int = 4096
) -> list[int]:
    found = ffi.new("uint64_t[]", room)
    # Memory of exactly that size: the sanitizer sees what is read behind it.
    memory = ffi.new("uint8_t[]", len(hay))
    ffi.memmove(memory, hay, len(hay))
    mask = b"\xff" * len(pattern) if mask is None else mask
    count = C.lm_search_find(memory, len(hay), begin, pattern, mask, len(pattern), align, phase, found, room)
    return list(ffi.unpack(found, count))


def naive(hay: bytes, pattern: bytes, mask: bytes, begin: int, align: int, phase: int) -> list[int]:
    found, free = [], begin
    for at in range(begin, len(hay) - len(pattern) + 1):
        fits = all((hay[at + n] ^ pattern[n]) & mask[n] == 0 for n in range(len(pattern)))
        if at >= free and (at + phase) % align == 0 and fits:
            found.append(at)
            free = at + len(pattern)
    return found


few = st.integers(0, 3).map(lambda n: (0, 1, 0x41, 0xFF)[n])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(few, max_size=150).map(bytes),
    st.lists(st.tuples(few, st.sampled_from([0, 0xF0, 0xFF, 0xFF])), min_size=1, max_size=40),
    st.integers(0, 20), st.integers(1, 9), st.integers(0, 9),
)  # fmt: skip
def test_as_the_naive_search(hay: bytes, pattern: list[tuple[int, int]], begin: int, align: int, phase: int) -> None:
    data, mask = bytes(byte for byte, _ in pattern), bytes(bits for _, bits in pattern)
    assert find(hay, data, mask, begin, align, phase) == naive(hay, data, mask, begin, align, phase)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=70), st.integers(0, 300), st.integers(0, 300))
def test_wherever_it_is_planted(pattern: bytes, before: int, behind: int) -> None:
    hay = os.urandom(before) + pattern + os.urandom(behind)
    assert find(hay, pattern) == naive(hay, pattern, b"\xff" * len(pattern), 0, 1, 0)


def test_goes_on_where_there_was_no_room() -> None:
    hay, found, begin = b"ab" * 1000 + b"a", [], 0
    while some := find(hay, b"ab", begin=begin, room=7):
        found += some
        begin = some[-1] + 2
    assert found == list(range(0, 2000, 2))


def test_nothing_in_nothing() -> None:
    assert find(b"", b"x") == find(b"x", b"xx") == find(b"x", b"") == find(b"xx", b"x", begin=2) == []
    assert find(b"x", b"x", align=0) == find(b"x", b"x", room=0) == []
