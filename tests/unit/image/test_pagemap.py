"""The page map: C and the protobuf library agree, the file layout is right, and what is not a map is refused."""

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image.pagemap import PageMap
from lamina.core.image.schema import pagemap_entry, pagemap_head
from tests.unit.image.layers import address, runs

PAGES = st.sets(st.integers(0, 200), max_size=60)


def stream(*records: bytes) -> bytes:
    head = pagemap_head(pages_id=1).SerializeToString()
    return fmt.PAGEMAP.head_bytes + b"".join(struct.pack("<I", len(it)) + it for it in (head, *records))


def entry(**fields: int) -> bytes:
    return bytes(pagemap_entry(**fields).SerializePartialToString())  # type: ignore[arg-type]  # the stub sees one type for all fields


@given(PAGES, PAGES)
def test_what_is_built_comes_back(own: set[int], inherited: set[int]) -> None:
    present, parent = runs(own), runs(inherited - own)
    back = PageMap.decode(PageMap.of(3, present, parent).encode())
    assert (back.pages_id, back.present, back.parent, back.all) == (3, present, parent, present | parent)
    assert back.data_bytes == present.bytes
    assert not back.nowhere


@given(PAGES, PAGES)
def test_the_protobuf_library_reads_the_same(own: set[int], inherited: set[int]) -> None:
    raw = PageMap.of(1, runs(own), runs(inherited - own)).encode()
    head, *entries = fmt.decode_image(raw, "pagemap")
    assert isinstance(head, pagemap_head)
    for it in entries:
        assert isinstance(it, pagemap_entry)
        assert it.compat_nr_pages == it.nr_pages
        assert it.flags in (1, 4)
        assert it.in_parent == (it.flags == 1)
        assert it.HasField("in_parent") == it.in_parent
    assert fmt.encode_image("pagemap", [head, *entries]) == raw


def test_offsets_count_only_what_is_present() -> None:
    pagemap = PageMap.of(1, PageRuns.of([(0x1000, 0x3000), (0x8000, 0x9000)]), PageRuns.of([(0x3000, 0x8000)]))
    assert pagemap.vaddr.tolist() == [0x1000, 0x3000, 0x8000]
    assert pagemap.file_offset.tolist() == [0, 2 * PAGE, 2 * PAGE]


def test_a_page_cannot_be_owned_and_inherited() -> None:
    with pytest.raises(ValueError, match="both"):
        PageMap.of(1, runs({1}), runs({1}))


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"compat_nr_pages": 2}, 4),
        ({"compat_nr_pages": 0, "nr_pages": 2}, 4),
        ({"compat_nr_pages": 9, "nr_pages": 2, "flags": 6}, 6),
        ({"compat_nr_pages": 2, "in_parent": 1}, 1),
        ({"compat_nr_pages": 2, "in_parent": 0, "flags": 1}, 1),
        ({"compat_nr_pages": 2, "flags": 5}, 1),
        ({"compat_nr_pages": 2, "flags": 2}, 2),
    ],
)
def test_what_old_and_new_writers_mean(fields: dict[str, int], flags: int) -> None:
    back = PageMap.decode(stream(entry(vaddr=0x1000, **fields)))
    assert (back.pages.tolist(), back.flags.tolist()) == ([2], [flags])


BAD = {
    "page compression": entry(vaddr=0x1000, compat_nr_pages=1) + b"\x32\x02\x00\x10",
    "page compression, which CRIU": entry(vaddr=0x1000, compat_nr_pages=1) + b"\x38\x01",
    "a field this version does not know": entry(vaddr=0x1000, compat_nr_pages=1) + b"\x48\x01",
    "does not know": entry(vaddr=0x1000, compat_nr_pages=1, flags=8),
    "no address": entry(compat_nr_pages=1),
    "no pages": entry(vaddr=0x1000, compat_nr_pages=0),
    "page aligned": entry(vaddr=0x1001, compat_nr_pages=1),
    "address space": entry(vaddr=2**63, nr_pages=1),
    "beyond the address space": entry(vaddr=0x1000, nr_pages=2**52),
    "does not end": b"\x08\xff",
    "a number": b"\x08" + b"\xff" * 10,
    "32-bit": b"\x08\x80\x20\x10" + b"\xff" * 9 + b"\x01",
    "length": b"",
}


@pytest.mark.parametrize("why", BAD)
def test_what_is_not_an_entry_is_refused(why: str) -> None:
    with pytest.raises(ImageError) as caught:
        PageMap.decode(stream(BAD[why]), "S/1/pagemap-7.img")
    assert str(caught.value).startswith("cannot use image S/1/pagemap-7.img: the entry at offset 14: ")
    assert "\n" not in str(caught.value)
    if " " in why:
        assert why in str(caught.value)


def test_unsorted_and_overlapping_runs_are_refused() -> None:
    first = entry(vaddr=0x3000, compat_nr_pages=2)
    for second in (0x1000, 0x3000, 0x4000):
        with pytest.raises(ImageError, match="begins before the end"):
            PageMap.decode(stream(first, entry(vaddr=second, compat_nr_pages=1)))
    assert len(PageMap.decode(stream(first, entry(vaddr=0x5000, compat_nr_pages=1)))) == 2


def test_truncation_at_every_byte() -> None:
    whole = PageMap.of(1, runs({1, 2, 5}), runs({7, 9})).encode()
    borders = {at for _, _, at in fmt.records_of(whole, fmt.PAGEMAP, "")} - {8}
    for end in range(len(whole)):
        if end in borders:
            PageMap.decode(whole[:end])
        else:
            with pytest.raises(ImageError):
                PageMap.decode(whole[:end])


@given(st.binary(max_size=40), st.booleans())
def test_anything_is_an_image_error_or_a_map(raw: bytes, framed: bool) -> None:
    try:
        back = PageMap.decode(stream(raw) if framed else stream() + raw)
    except ImageError:
        return
    assert back.all.pages == int(back.pages.sum())


@given(st.lists(st.tuples(st.integers(0, 2**50), st.integers(1, 2**31), st.sampled_from([1, 2, 4, 6])), max_size=20))
def test_the_library_and_c_read_alike(parts: list[tuple[int, int, int]]) -> None:
    at, records = 0, []
    for gap, pages, flags in parts:
        at += gap // 40 * PAGE
        records.append(entry(vaddr=at, compat_nr_pages=pages, flags=flags))
        at += pages * PAGE
    back = PageMap.decode(stream(*records))
    read = [pagemap_entry.FromString(it) for it in records]
    assert back.vaddr.tolist() == [it.vaddr for it in read]
    assert back.pages.tolist() == [it.compat_nr_pages for it in read]
    assert back.flags.tolist() == [it.flags for it in read]


def test_two_million_entries_decode_in_a_tenth_of_a_second() -> None:
    count = 2_000_000
    vaddr = (np.arange(count, dtype=np.uint64) * 3 + 0x7F0000000) * PAGE
    flags = np.where(np.arange(count) % 3 == 0, 1, 4).astype(np.uint32)
    raw = PageMap(1, vaddr, np.ones(count, dtype=np.uint64), flags).encode()
    best = 9.0
    for _ in range(5):
        begin = time.perf_counter()
        back = PageMap.decode(raw)
        best = min(best, time.perf_counter() - begin)
    assert len(back) == count
    assert np.array_equal(back.vaddr, vaddr)
    assert best < 0.25, "a loaded machine may take twice as long, not more"


def test_too_long_a_run_cannot_be_written() -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        PageMap.of(1, PageRuns.of([(0, 2**32 * PAGE)]), PageRuns.empty()).encode()


def test_addresses_are_exact() -> None:
    assert PageMap.decode(PageMap.of(1, runs({0}), runs({3})).encode()).vaddr.tolist() == [address(0), address(3)]
