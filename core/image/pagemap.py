"""The pagemap: which runs of an address space a layer has, and where (docs/image-format.md).

A pagemap image is a head that names the pages file, then runs in ascending order. The content of the runs with data lies in the pages
file in that order, end to end; the file itself holds nothing else, and no offset is written anywhere.
"""

import mmap
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.format import PAGEMAP, PageFlag, head_size, read_file
from lamina.core.image.schema import pagemap_head

PAGE = mmap.PAGESIZE
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]


def _pointer(array: NDArray[Any], ctype: str) -> Any:
    return ffi.from_buffer(f"{ctype}[]", array) if array.size else ffi.new(f"{ctype}[1]")


@dataclass(frozen=True, eq=False)
class PageMap:
    """The runs of one address space (or one shared object, whose "addresses" are offsets in it).

    Attributes:
        pages_id: N of pages-N.img.
        vaddr: first byte of each run, ascending.
        pages: its length in pages, at least 1.
        flags: `PageFlag` bits; PARENT and PRESENT are never both set.
    """

    pages_id: int
    vaddr: U64
    pages: U64
    flags: U32

    @classmethod
    def of(cls, pages_id: int, present: PageRuns, parent: PageRuns) -> "PageMap":
        """The map of a layer that holds the pages of *present* itself and inherits those of *parent*.

        Raises:
            ValueError: a page is in both.
        """
        if present & parent:
            raise ValueError("a page cannot be both in this layer and inherited")
        starts = np.concatenate((present.starts, parent.starts))
        sizes = np.concatenate((present.sizes, parent.sizes))
        flags = np.repeat(np.array([PageFlag.PRESENT, PageFlag.PARENT], dtype=np.uint32), (len(present), len(parent)))
        order = np.argsort(starts, kind="stable")
        return cls(pages_id, starts[order], sizes[order] // np.uint64(PAGE), flags[order])

    @classmethod
    def decode(cls, data: bytes, name: str = "pagemap") -> "PageMap":
        """From the bytes of a pagemap image; *name* is for messages.

        Raises:
            ImageError: not a pagemap, truncated, unsorted, overlapping, or of a format newer than this.
        """
        at, head = _decode_head(data, name)
        view = memoryview(data)[at:]
        stream = ffi.from_buffer("uint8_t[]", view) if view.nbytes else ffi.new("uint8_t[1]")
        err = new_error()
        try:
            count = check(C.lm_pagestream_count(stream, view.nbytes, err), err)
            vaddr, pages = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint64)
            flags = np.empty(count, dtype=np.uint32)
            columns = _pointer(vaddr, "uint64_t"), _pointer(pages, "uint64_t"), _pointer(flags, "uint32_t")
            check(C.lm_pagestream_decode(stream, view.nbytes, PAGE, count, *columns, err), err)
        except NativeError as error:
            raise ImageError("cannot use image", name, f"the entry at offset {at + error.object_id}: {error.detail}") from error
        for array in (vaddr, pages, flags):
            array.flags.writeable = False
        return cls(head.pages_id, vaddr, pages, flags)

    @classmethod
    def read(cls, path: Path) -> "PageMap":
        """From a file. Raises as `decode` and `lamina.core.image.format.read_file`."""
        return cls.decode(read_file(path), str(path))

    def encode(self) -> bytes:
        """The whole pagemap image.

        Raises:
            ImageError: a run is longer than 2^32-1 pages.
        """
        head = pagemap_head(pages_id=self.pages_id).SerializeToString()
        out = np.empty(self.vaddr.size * C.LM_PAGESTREAM_MAX_RECORD, dtype=np.uint8)
        columns = (
            _pointer(np.ascontiguousarray(self.vaddr), "uint64_t"),
            _pointer(np.ascontiguousarray(self.pages), "uint64_t"),
            _pointer(np.ascontiguousarray(self.flags), "uint32_t"),
        )
        err = new_error()
        try:
            size = check(C.lm_pagestream_encode(*columns, self.vaddr.size, _pointer(out, "uint8_t"), out.size, err), err)
        except NativeError as error:
            raise ImageError("cannot encode", f"pagemap of pages-{self.pages_id}.img", error.detail) from error
        return PAGEMAP.head_bytes + struct.pack("<I", len(head)) + head + out[:size].tobytes()

    def __len__(self) -> int:
        return int(self.vaddr.size)

    def _runs(self, wanted: NDArray[np.bool_]) -> PageRuns:
        starts = self.vaddr[wanted]
        return PageRuns.from_arrays(starts, starts + self.pages[wanted] * np.uint64(PAGE))

    @cached_property
    def file_offset(self) -> U64:
        """Where each run's content begins in the pages file, bytes; meaningful for runs with data only."""
        sizes = np.where(self._has_data, self.pages * np.uint64(PAGE), np.uint64(0))
        return np.cumsum(sizes, dtype=np.uint64) - sizes

    @cached_property
    def _has_data(self) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = np.not_equal(self.flags & np.uint32(PageFlag.PRESENT), 0)
        return mask

    @cached_property
    def present(self) -> PageRuns:
        """Pages whose content is in this layer's pages file. Because the file has no gaps, `present.offsets` says where."""
        return self._runs(self._has_data)

    @cached_property
    def parent(self) -> PageRuns:
        """Inherited pages: the direct parent's map must have them."""
        return self._runs((self.flags & np.uint32(PageFlag.PARENT)) != 0)

    @cached_property
    def nowhere(self) -> PageRuns:
        """Pages without data (a lazy dump that was never completed)."""
        return self._runs((self.flags & np.uint32(PageFlag.PARENT | PageFlag.PRESENT)) == 0)

    @cached_property
    def all(self) -> PageRuns:
        """Every page in the map."""
        return self._runs(np.ones(self.vaddr.size, dtype=np.bool_))

    @property
    def data_bytes(self) -> int:
        """What the size of the pages file must be."""
        return int(self.pages[self._has_data].sum(dtype=np.uint64)) * PAGE


def _decode_head(data: bytes, name: str) -> tuple[int, pagemap_head]:
    """The pagemap_head and the offset of the first entry."""
    head_end = head_size(data, PAGEMAP, name)
    at = head_end + 4
    length = int.from_bytes(data[head_end:at], "little")
    if at > len(data) or length > len(data) - at:
        raise ImageError("truncated image", name, f"the file ends inside its head, at offset {len(data)}")
    try:
        head = pagemap_head.FromString(data[at : at + length])
        if not head.IsInitialized():
            raise DecodeError("it names no pages file")
    except DecodeError as error:
        raise ImageError("damaged image", name, f"record at offset {head_end} is not a pagemap_head: {error}") from error
    return at + length, head
