"""lm_pagemap_*: what PAGEMAP_SCAN says of a real process, and that asking for it leaks nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.scan import Scanner
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from tests.native.memory_victim import MADV_DONTNEED, MIB, PROT_NONE, PROT_READ, Victim, own_fds, own_rss, victim_in


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with victim_in(tmp_path) as found:
        yield found


@pytest.fixture
def scanner(victim: Victim) -> Iterator[Scanner]:
    found = Scanner(victim.identity)
    yield found
    found.close()


def test_untracked_memory_is_all_changed_and_only_where_something_is(victim: Victim, scanner: Scanner) -> None:
    address = victim.map(16 * MIB)
    written = victim.write(address, 10, 7 * PAGE)
    victim.ask("read", address + 8 * MIB, 5, PAGE)
    report = scanner.scan([victim.area(address)], protect=False, live=False)
    assert report.changed == report.untracked == report.data == written
    assert report.zero == PageRuns.of([(address + 8 * MIB, address + 8 * MIB + 5 * PAGE)])
    assert not report.clean
    assert report.present == written | report.zero


def test_dropped_pages_are_gone(victim: Victim, scanner: Scanner) -> None:
    address = victim.map(MIB)
    victim.write(address, 256)
    victim.ask("advise", address, 128 * PAGE, MADV_DONTNEED)
    report = scanner.scan([victim.area(address)], protect=False, live=False)
    assert report.data == PageRuns.of([(address + 128 * PAGE, address + 256 * PAGE)])


def test_private_file_pages_come_from_the_file_until_written(victim: Victim, scanner: Scanner, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(bytes(range(256)) * 16 * 64)
    address = victim.ask("file", backing, 64 * PAGE, "private")
    victim.ask("read", address, 64, PAGE)
    area = [victim.area(address)]
    assert scanner.scan(area, protect=False, live=False).present == PageRuns.empty()
    written = victim.write(address + 3 * PAGE, 4, 2 * PAGE)
    assert scanner.scan(area, protect=False, live=False).data == written


def test_shared_memory_and_what_no_one_can_read_is_said_to_be_outside(victim: Victim, scanner: Scanner, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(bytes(4 * PAGE))
    address = victim.ask("file", backing, 4 * PAGE, "shared")
    victim.write(address, 4)
    report = scanner.scan(victim.areas(), protect=False, live=False)
    assert victim.area(address) in report.outside
    assert "[vvar]" in {area.path for area in report.outside}
    assert "[vdso]" not in {area.path for area in report.outside}
    assert not report.data.clip(address, address + 4 * PAGE)


def test_slices_say_the_same_as_one_call(victim: Victim, scanner: Scanner) -> None:
    sparse = victim.map(1 << 40, "small")
    for place in (0, 5 << 30, (1 << 40) - PAGE):
        victim.write(sparse + place)
    dense = victim.map(40 * MIB, "small")
    victim.write(dense, 5120, 2 * PAGE)
    huge = victim.map(32 * MIB, "huge")
    victim.write(huge + 6 * MIB, 8, 2 * MIB)
    areas = victim.areas()
    assert scanner.scan(areas, protect=False, live=True) == scanner.scan(areas, protect=False, live=False)
    report = scanner.scan(areas, protect=False, live=True)
    assert report.data.clip(sparse, sparse + (1 << 40)).addresses().tolist() == [sparse, sparse + (5 << 30), sparse + (1 << 40) - PAGE]
    assert report.data.clip(dense, dense + 40 * MIB).pages == 5120


def test_more_regions_than_the_vector_has_room_for(victim: Victim, scanner: Scanner) -> None:
    """30,000 single pages, and room for 16,384 regions at first."""
    address = victim.map(240 * MIB)
    written = victim.write(address, 30000, 2 * PAGE)
    assert scanner.scan([victim.area(address)], protect=False, live=False).data == written


def test_inaccessible_and_read_only_areas_keep_their_data(victim: Victim, scanner: Scanner) -> None:
    address = victim.map(8 * PAGE)
    written = victim.write(address, 8)
    for prot in (PROT_READ, PROT_NONE):
        victim.ask("protect", address, 8 * PAGE, prot)
        assert scanner.scan([victim.area(address)], protect=False, live=False).data == written


def test_entries_tell_guard_markers_from_swap(victim: Victim, scanner: Scanner) -> None:
    """MADV_GUARD_INSTALL leaves entries that look swapped (type 31); they are no data."""
    address = victim.map(8 * PAGE)
    written = victim.write(address, 8)
    if victim.ask("advise", address + 2 * PAGE, 2 * PAGE, 102) < 0:
        pytest.skip("no guard pages before Linux 6.13")
    entries = scanner.entries(address, 8)
    assert ((entries >> np.uint64(62)) & np.uint64(1)).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    guard = PageRuns.of([(address + 2 * PAGE, address + 4 * PAGE)])
    report = scanner.scan([victim.area(address)], protect=False, live=False)
    assert report.data == written - guard
    assert report.guards in (guard, PageRuns.empty())  # shown since Linux 6.15


def test_the_scan_of_an_ended_or_replaced_program_is_an_error(victim: Victim, scanner: Scanner) -> None:
    areas = victim.areas()
    assert victim.say("exec") == "ready"
    with pytest.raises(TargetError, match="exec"):
        scanner.scan(areas, protect=False, live=False)
    with pytest.raises(TargetError, match="gone"):
        scanner.entries(areas[0].start, 1)
    scanner.reopen()
    assert scanner.scan(victim.areas(), protect=False, live=False).data
    victim.end()
    with pytest.raises(TargetError, match="ended"):
        scanner.scan(areas, protect=False, live=False)
    with pytest.raises(TargetError):
        Scanner(victim.identity)


def test_scan_of_a_descriptor_that_is_no_page_map_names_the_call() -> None:
    err, found = new_error(), ffi.gc(ffi.new("lm_array *"), C.lm_array_free)
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(NativeError) as caught:
            check(C.lm_pagemap_scan(null, ffi.new("uint64_t[]", [PAGE]), ffi.new("uint64_t[]", [2 * PAGE]), b"\0", 1, 0, found, err), err)
        assert caught.value.where == "ioctl(PAGEMAP_SCAN)"
    finally:
        os.close(null)


def test_array_grows_merges_and_is_given_back() -> None:
    err = new_error()
    array = ffi.new("lm_array *")
    before = own_rss()
    for _ in range(50):
        for page in range(0, 40000, 2):
            check(C.lm_array_add(array, page * PAGE, (page + 1) * PAGE, 8, err), err)
        check(C.lm_array_add(array, 39999 * PAGE, 40000 * PAGE, 8, err), err)
        assert array.count == 20000
        assert array.regions[19999].end == 40000 * PAGE
        C.lm_array_free(array)
        assert array.count == array.room == 0
    assert own_rss() - before < 4 * MIB


def test_nothing_leaks(victim: Victim) -> None:
    address = victim.map(16 * MIB)
    victim.write(address, 2048, 2 * PAGE)
    areas = victim.areas()

    def once() -> None:
        scanner = Scanner(victim.identity)
        scanner.scan(areas, protect=False, live=False)
        scanner.entries(address, 64)
        scanner.close()

    for _ in range(20):
        once()
    fds, rss = own_fds(), own_rss()
    for _ in range(500):
        once()
    assert own_fds() == fds
    assert own_rss() - rss < 4 * MIB
