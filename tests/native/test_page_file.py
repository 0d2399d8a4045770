"""A pages file that came in several rounds is laid out once more in the order of addresses, and gives back as it goes."""

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, ffi, new_error


def rewritten(before: int, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64]) -> int:
    after, err = os.memfd_create("after"), new_error()
    columns = (ffi.from_buffer("uint64_t[]", column) for column in (offsets, lengths))
    check(C.lm_receiver_rewrite(before, after, *columns, offsets.size, err), err)
    return after


@pytest.mark.parametrize("rounds", [1, 2, 5, 30])
def test_every_page_finds_its_place_and_the_room_of_what_is_copied_is_given_back(rounds: int) -> None:
    pages = 4096
    dice = np.random.default_rng(rounds)
    round_of = dice.integers(0, rounds, pages)
    order = np.lexsort((np.arange(pages), round_of))  # as they came: round by round, ascending in each
    before = os.memfd_create("before")
    os.write(before, np.repeat(order.astype("<u8"), PAGE // 8).tobytes())
    offsets = np.empty(pages, dtype=np.uint64)
    offsets[order] = np.arange(pages, dtype=np.uint64) * np.uint64(PAGE)
    left = dice.random(pages) < 0.05  # and some that are not wanted any more
    offsets = offsets[~left]
    after = rewritten(before, offsets, np.full(offsets.size, PAGE, dtype=np.uint64))
    numbers = np.frombuffer(os.pread(after, pages * PAGE, 0), dtype="<u8").reshape(-1, PAGE // 8)
    assert (numbers == np.flatnonzero(~left)[:, None]).all()
    kept = os.fstat(before).st_blocks * 512
    # What nobody wanted stays until the file goes, and at most a sixteenth waits to be given back.
    assert kept <= int(left.sum()) * PAGE + pages * PAGE // 16
    os.close(before)
    os.close(after)


def test_one_long_stretch_is_given_back_too() -> None:
    before = os.memfd_create("before")
    os.write(before, os.urandom(PAGE) * 8192)
    after = rewritten(before, np.array([PAGE], dtype=np.uint64), np.array([8191 * PAGE], dtype=np.uint64))
    assert os.fstat(before).st_blocks * 512 <= (8192 // 16 + 1) * PAGE
    assert os.fstat(after).st_size == 8191 * PAGE
    os.close(before)
    os.close(after)


def test_a_file_that_is_too_short_is_said() -> None:
    before = os.memfd_create("before")
    with pytest.raises(NativeError, match="the file ends at"):
        rewritten(before, np.array([0], dtype=np.uint64), np.array([PAGE], dtype=np.uint64))
    os.close(before)
