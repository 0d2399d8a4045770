"""What is filled in which portions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.restore import fill

PAGE = 4096
PIECES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 40_000), st.integers(0, 1 << 20)), min_size=1, max_size=12)


@given(PIECES)
def test_portions_are_the_pieces_cut_small(pieces: list[tuple[int, int, int]]) -> None:
    table = np.array(pieces, dtype=np.uint64) * np.uint64(PAGE)
    seen: list[tuple[int, int, int]] = []
    for portion, length in fill._portions(table):
        assert int(portion[:, 1].sum()) == length <= fill._CALL_BYTES
        assert portion.flags.c_contiguous and portion.dtype == np.uint64
        for address, size, offset in portion.tolist():
            last = seen[-1] if seen else None
            if last and last[0] + last[1] == address and last[2] + last[1] == offset and _same_piece(table, last, address):
                seen[-1] = (last[0], last[1] + size, last[2])
            else:
                seen.append((address, size, offset))
    assert seen == [tuple(row) for row in table.tolist()]


def _same_piece(table: "np.ndarray", last: tuple[int, int, int], address: int) -> bool:
    return any(
        start <= last[0] and last[0] + last[1] <= address < start + size and offset - start == last[2] - last[0]
        for start, size, offset in table.tolist()
    )
