"""Mappings of real processes as messages and back; what is refused."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import PAGE, Area, read_maps, read_smaps
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.format import VmaStatus
from lamina.core.image.schema import vma_entry
from lamina.core.kinds.memory import guards, special, vma_flags, vmas
from lamina.core.kinds.memory.vmas import Pages


@dataclass
class Paths:
    """A path table: ids in the order of first use."""

    known: dict[tuple[str, int], int] = field(default_factory=dict)

    def path(self, path: str, flags: int = 0) -> int:
        return self.known.setdefault((path, flags), len(self.known) + 1)

    def shared_memory(self, dev: str, inode: int) -> int:
        return inode

    def of(self, number: int) -> str:
        return next(path for (path, _), known in self.known.items() if known == number)


def saved(areas: list[Area], files: Paths) -> list[vma_entry]:
    return [vma_entry.FromString(entry.SerializeToString()) for entry in vmas.save(areas, files)]


def area(path: str = "", perms: str = "rw-p", inode: int = 0, flags: str = "", start: int = 0x10000, pages: int = 1) -> Area:
    return Area(start, start + pages * PAGE, perms, 0, "00:00", inode, path, frozenset(flags.split()))


@pytest.fixture(scope="module")
def quiet() -> Iterator[int]:
    """The pid of a process that waits and maps nothing meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def areas_of(pid: int) -> list[Area]:
    areas = read_smaps(pid)
    assert all(vmas.blocker(one) is None for one in areas)
    return areas


def test_mappings_of_a_real_process(quiet: int) -> None:
    areas, files = areas_of(quiet), Paths()
    entries = saved(areas, files)
    vmas.check(entries)
    listed = {(a.start, a.end): a for a in read_maps(quiet)}
    assert len(entries) == len(listed)
    for entry, one in zip(entries, areas, strict=True):
        assert (entry.start, entry.end) in listed
        assert entry.prot == one.prot
        assert bool(entry.flags & vma_flags.MAP_ANONYMOUS) == (one.inode == 0)
        if one.is_file:
            assert files.of(entry.shmid) == one.path
            assert entry.pgoff == one.offset
    kinds = {one.path: VmaStatus(entry.status) for entry, one in zip(entries, areas, strict=True)}
    assert kinds["[stack]"] == VmaStatus.REGULAR | VmaStatus.STACK | VmaStatus.ANON_PRIVATE
    assert kinds["[heap]"] == VmaStatus.REGULAR | VmaStatus.HEAP | VmaStatus.ANON_PRIVATE
    assert kinds["[vdso]"] == VmaStatus.REGULAR | VmaStatus.VDSO | VmaStatus.ANON_PRIVATE
    stack = next(entry for entry, one in zip(entries, areas, strict=True) if one.path == "[stack]")
    assert stack.flags & vma_flags.MAP_GROWSDOWN


def test_the_plan_holds_every_mapping_but_the_kernels(quiet: int) -> None:
    areas, files = areas_of(quiet), Paths()
    plans = vmas.plan(saved(areas, files), files.of, lambda entry: True)
    ours = [one for one in areas if one.path not in vma_flags.KERNEL_NAMES]
    assert [(p.start, p.end, p.prot, p.path, p.offset) for p in plans] == [
        (a.start, a.end, a.prot, a.path if a.is_file else "", a.offset if a.is_file else 0) for a in ours
    ]
    # glibc 2.41 has one droppable page (getrandom in the vDSO), whose content nobody may count on.
    assert all(plan.filled != (a.shared or "dp" in a.flags) for plan, a in zip(plans, ours, strict=True))


def test_files_are_opened_once_for_neighbours_and_closed() -> None:
    files = Paths()
    areas = [area("/a", "r--p", 5, start=PAGE), area("/a", "r-xp", 5, start=2 * PAGE), area("/b", "rw-s", 6, "mw", start=3 * PAGE)]
    calls = CallList()
    vmas.make(vmas.plan(saved(areas, files), files.of, lambda entry: False), calls)
    assert [call.name for call in calls.calls] == ["openat", "mmap", "mmap", "close", "openat", "mmap", "close"]
    assert calls.calls[4].args[2] == os.O_RDWR | os.O_CLOEXEC
    assert all(call.args[3] & vma_flags.MAP_FIXED_NOREPLACE for call in calls.calls if call.name == "mmap")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "pages"),
    [
        (area(), Pages.ANONYMOUS),
        (area("[heap]"), Pages.ANONYMOUS),
        (area("[anon:arena]"), Pages.ANONYMOUS),
        (area("/lib/x", "r--p", 9), Pages.PRIVATE_COPIES),
        (area("/lib/x", "rw-s", 9), Pages.NONE),
        (area("[vvar]", "r--p"), Pages.NONE),
        (area("[vvar_vclock]", "r--p"), Pages.NONE),
        (area("[vdso]", "r-xp"), Pages.WHOLE),
        (area("[vsyscall]", "--xp"), Pages.NONE),
        (area(flags="dp"), Pages.NONE),
    ],
)
def test_which_pages_belong_in_an_image(one: Area, pages: Pages) -> None:
    assert vmas.pages_of(one) is pages
    assert vmas.pages_of(saved([one], Paths())[0]) is pages


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (area("/SYSV00000000 (deleted)", "rw-s", 3), "System V"),
        (area("/memfd:x (deleted)", "rw-s", 3), "memfd"),
        (area("/[aio] (deleted)", "rw-s", 3), "aio"),
        (area("anon_inode:[io_uring]", "rw-s", 3), "anonymous inode"),
        (area("socket:[12]", "rw-s", 3), "socket"),
        (area("[uprobes]", "--xp"), "uprobes"),
        (area("/x (deleted)", "r--p", 3), "deleted"),
        (area("", "rw-p", 0, "rd wr ht"), "huge pages"),
        (area("", "rw-p", 0, "rd wr ss"), "shadow stack"),
        (area("/dev/x", "rw-s", 3, "io pf"), "device"),
        (area("[new kind]", "r--p"), "unknown"),
        (area("", "rw-s"), "unknown"),
    ],
)
def test_what_cannot_be_dumped_is_named(one: Area, why: str) -> None:
    found = vmas.blocker(one, 7)
    assert found is not None
    assert why in found.why
    assert found.pid == 7


@pytest.mark.parametrize(
    "change",
    [
        {"start": 1}, {"end": 0x10000}, {"pgoff": 5}, {"end": 1 << 60, "start": 1 << 59}, {"status": VmaStatus.SYSVIPC | 1},
        {"status": 1}, {"flags": vma_flags.MAP_HUGETLB | 0x22},
    ],
)  # fmt: skip
def test_damaged_or_foreign_mappings_are_refused(change: dict[str, int]) -> None:
    (entry,) = saved([area()], Paths())
    for name, value in change.items():
        setattr(entry, name, value)
    with pytest.raises(ImageError):
        vmas.check([entry])


def test_mappings_must_be_in_order() -> None:
    one, two = saved([area(start=PAGE), area(start=2 * PAGE)], Paths())
    vmas.check([one, two])
    with pytest.raises(ImageError, match="not in order"):
        vmas.check([two, one])


def test_advice_that_no_dump_writes_is_refused() -> None:
    (entry,) = saved([area(flags="hg dd")], Paths())
    assert vmas.plan([entry], Paths().of, lambda entry: True)[0].advice == (14, 16)
    entry.madv |= 1 << mmap.MADV_DONTNEED
    with pytest.raises(ImageError, match="madvise"):
        vmas.plan([entry], Paths().of, lambda entry: True)


def test_the_kernels_mappings_are_paired_in_order() -> None:
    areas = [one for one in read_maps(os.getpid()) if one.path in ("[vvar]", "[vvar_vclock]", "[vdso]")]
    entries = saved(areas, Paths())
    for entry in entries:
        entry.start += 1 << 30
        entry.end += 1 << 30
    found = special.moves(entries, areas)
    assert [(m.name, m.old, m.new, m.size) for m in found] == [(a.path, a.start, a.start + (1 << 30), a.size) for a in areas]
    calls = CallList()
    special.rebuild(found, 1 << 40, calls)
    assert len(calls.calls) == len(areas)
    first, *others = [entry for entry in entries if entry.status & VmaStatus.VVAR]
    as_one = vma_entry()
    as_one.CopyFrom(first)
    as_one.end = max([first.end, *(other.end for other in others)])
    rest = [entry for entry in entries if not entry.status & VmaStatus.VVAR]
    assert special.moves([as_one, *rest], areas) == found
    with pytest.raises(ImageError, match="vdso layout"):
        special.moves(entries[:-1], areas)


def test_overlapping_moves_go_through_the_parking_place() -> None:
    moves = [special.Move("[vvar]", 0x10000, 0x12000, 0x4000), special.Move("[vdso]", 0x14000, 0x16000, 0x2000)]
    calls = CallList()
    special.rebuild(moves, 0x900000, calls)
    assert [(c.args[0], c.args[4]) for c in calls.calls] == [
        (0x10000, 0x900000), (0x14000, 0x904000), (0x900000, 0x12000), (0x904000, 0x16000),
    ]  # fmt: skip
    calls = CallList()
    special.rebuild([special.Move("[vdso]", 0x10000, 0x10000, 0x2000)], 0x900000, calls)
    assert not calls.calls


def test_guard_pages_of_a_criu_image() -> None:
    guard = vma_entry(start=PAGE, end=2 * PAGE, pgoff=0, shmid=0, prot=0, flags=0, status=VmaStatus.GUARD, fd=-1)
    areas = saved([area(start=0, pages=4)], Paths())
    vmas.check([*areas, guard])
    found = guards.load([*areas, guard])
    calls = CallList()
    guards.rebuild(found, calls)
    assert calls.calls[0].args == (PAGE, PAGE, vma_flags.MADV_GUARD_INSTALL)
    assert [(entry.start, entry.end, entry.status) for entry in guards.save(found)] == [(PAGE, 2 * PAGE, VmaStatus.GUARD)]


@pytest.mark.parametrize(("start", "end"), [(PAGE, PAGE), (2 * PAGE, PAGE), (1, PAGE), (8 * PAGE, 9 * PAGE), (1 << 62, (1 << 62) + PAGE)])
def test_guard_pages_that_no_dump_writes(start: int, end: int) -> None:
    guard = vma_entry(start=start, end=end, pgoff=0, shmid=0, prot=0, flags=0, status=VmaStatus.GUARD, fd=-1)
    with pytest.raises(ImageError):
        vmas.check([*saved([area(start=0, pages=4)], Paths()), guard])


def test_locked_memory_with_guard_pages_is_locked_first_and_then_brought_in() -> None:
    """mlock(2) answers ENOMEM for it, as it does beyond the limit: the first call tells the two apart."""
    areas = saved([area(start=PAGE, pages=8, flags="lo")], Paths())
    calls = CallList()
    vmas.protect(vmas.plan(areas, lambda _: "", lambda _: False), calls, PageRuns.of([(3 * PAGE, 4 * PAGE)]))
    assert [(call.name, call.args[:2], call.any_result) for call in calls.calls] == [
        ("mlock2", (PAGE, 8 * PAGE), False), ("mlock", (PAGE, 8 * PAGE), True),
        ("madvise", (PAGE, 2 * PAGE), True), ("madvise", (4 * PAGE, 5 * PAGE), True),
    ]  # fmt: skip


def test_a_real_file_mapping(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(3 * PAGE))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 2 * PAGE, mmap.MAP_SHARED, offset=PAGE):
        (one,) = [one for one in read_smaps(os.getpid()) if one.path == str(file)]
    files = Paths()
    (entry,) = saved([one], files)
    assert (entry.pgoff, entry.status, entry.flags) == (PAGE, VmaStatus.REGULAR | VmaStatus.FILE_SHARED, vma_flags.MAP_SHARED)
    assert files.known == {(str(file), os.O_RDWR): entry.shmid}
