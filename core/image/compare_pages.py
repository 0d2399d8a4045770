"""Compares two address spaces: where their pages are stored, and which pages are equal. All in C, by runs."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.owners import Pieces

GONE: Final[int] = C.LM_PIECE_GONE
ADDED: Final[int] = C.LM_PIECE_ADDED
SAME: Final[int] = C.LM_PIECE_SAME
OTHER: Final[int] = C.LM_PIECE_OTHER

BUFFER_BYTES: Final = 512 << 10
"""Two halves of 256 KiB, which stay in the second-level cache."""


@dataclass(frozen=True, eq=False)
class ComparedPieces:
    """The result of `compare_owners`, as columns in address order.

    Attributes:
        starts, ends: addresses, bytes.
        kinds: GONE (only in the first), ADDED (only in the second), SAME (the same bytes of the same file) or OTHER.
        at_a, at_b: for OTHER, the index of the piece on each side that contains it.
    """

    starts: Addresses
    ends: Addresses
    kinds: NDArray[np.uint8]
    at_a: NDArray[np.uint32]
    at_b: NDArray[np.uint32]

    def of(self, kind: int) -> PageRuns:
        """The pages of one kind."""
        wanted = self.kinds == kind
        return PageRuns.from_arrays(self.starts[wanted], self.ends[wanted])


def compare_owners(a: Pieces, b: Pieces) -> ComparedPieces:
    """Compare where the pages of two address spaces are stored. Owners have the same numbers on both sides, and all pieces have data."""
    room = 2 * (len(a) + len(b)) + 1
    starts, ends = np.empty(room, dtype=np.uint64), np.empty(room, dtype=np.uint64)
    kinds = np.empty(room, dtype=np.uint8)
    at_a, at_b = np.empty(room, dtype=np.uint32), np.empty(room, dtype=np.uint32)
    sides, keep = ffi.new("lm_owner_pieces[2]"), []
    for side, pieces in zip(sides, (a, b), strict=True):
        keep += [_column(pieces.starts), _column(pieces.ends), _column(pieces.offsets), _column(pieces.owners, "uint16_t")]
        side.starts, side.ends, side.offsets, side.owners = keep[-4:]
        side.count = len(pieces)
    err = new_error()
    count = check(
        C.lm_owners_compare(
            ffi.addressof(sides, 0), ffi.addressof(sides, 1), room, _column(starts), _column(ends), _column(kinds, "uint8_t"),
            _column(at_a, "uint32_t"), _column(at_b, "uint32_t"), err,
        ),
        err,
    )  # fmt: skip
    return ComparedPieces(starts[:count].copy(), ends[:count].copy(), kinds[:count].copy(), at_a[:count].copy(), at_b[:count].copy())


def equal_pages(a: bytes | memoryview, b: bytes | memoryview) -> NDArray[np.bool_]:
    """Which pages of two buffers of the same length, whole pages, are equal."""
    pages = len(a) // PAGE
    if len(a) != len(b) or len(a) % PAGE:
        raise ValueError(f"{len(a)} and {len(b)} bytes are not as many whole pages")
    equal = np.zeros(pages, dtype=np.bool_)
    if pages:
        C.lm_compare_pages(ffi.from_buffer("uint8_t[]", a), ffi.from_buffer("uint8_t[]", b), pages, PAGE, _column(equal, "uint8_t"))
    return equal


def equal_stretches(
    a: int, a_offsets: Addresses, b: int, b_offsets: Addresses, sizes: Addresses, buffer_bytes: int = BUFFER_BYTES
) -> NDArray[np.bool_]:
    """Which pages of two open files are equal, range by range: sizes[n] bytes at a_offsets[n] and b_offsets[n].

    Raises:
        NativeError: a file cannot be read or ends before a stretch does; `object_id` is its descriptor.
    """
    equal = np.zeros(int(sizes.sum(dtype=np.uint64)) // PAGE + 1, dtype=np.bool_)  # one more for a last page that is none
    buffer, err = np.empty(buffer_bytes, dtype=np.uint8), new_error()
    check(
        C.lm_compare_files(
            a, _column(a_offsets), b, _column(b_offsets), _column(sizes), sizes.size, PAGE,
            _column(buffer, "uint8_t"), buffer.size, _column(equal, "uint8_t"), err,
        ),
        err,
    )  # fmt: skip
    return equal[:-1]


def _column(array: NDArray[Any], ctype: str = "uint64_t") -> Any:
    # An empty buffer has no address; C does not look at it, but cffi wants one.
    return ffi.from_buffer(f"{ctype}[]", np.ascontiguousarray(array)) if array.size else ffi.new(f"{ctype}[1]")
