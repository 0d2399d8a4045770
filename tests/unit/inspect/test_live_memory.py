"""The memory of a running process, here our own and that of a child: read without touching what it has not."""

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.core.attach.procfs import read_maps
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import LaminaError, TargetError
from lamina.core.inspect import live_memory
from lamina.core.inspect.areas import AreaKind
from lamina.core.inspect.live_memory import open_live_memory
from lamina.core.inspect.patterns import text_pattern
from lamina.core.inspect.search import search
from lamina.core.inspect.sources import OwnerKind

PAGES = 64


def where(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.fixture
def anonymous() -> Iterator[tuple[mmap.mmap, int]]:
    memory = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[5 * PAGE - 3 : 5 * PAGE + 3] = b"border"
    yield memory, where(memory)


def resident(start: int) -> str:
    """The Rss line of the area that begins at *start*, or holds it."""
    area = next(area for area in read_maps(os.getpid()) if area.start <= start < area.end)
    text = Path("/proc/self/smaps").read_text().partition(f"{area.start:x}-{area.end:x}")[2]
    return next(line for line in text.splitlines() if line.startswith("Rss"))


def test_pages_it_has_and_pages_it_has_not(anonymous: tuple[mmap.mmap, int]) -> None:
    _, start = anonymous
    before = resident(start)
    with open_live_memory(os.getpid()) as memory:
        assert memory.read(start + 5 * PAGE - 3, 6) == b"border"
        assert memory.read(start + 10 * PAGE, 3 * PAGE) == bytes(3 * PAGE)
        assert memory.owner(start + 4 * PAGE).kind is OwnerKind.LIVE and memory.owner(start + 10 * PAGE).kind is OwnerKind.ZERO
        assert memory.known & PageRuns.of([(start, start + PAGES * PAGE)]) == PageRuns.of([(start + 4 * PAGE, start + 6 * PAGE)])
        hits = [hit.address for hit in search([memory], text_pattern("border")).hits]
        assert start + 5 * PAGE - 3 in hits
    assert resident(start) == before


def test_without_the_scan_of_new_kernels_it_is_the_same(anonymous: tuple[mmap.mmap, int]) -> None:
    _, start = anonymous
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)
    wanted = PageRuns.of([(start, start + PAGES * PAGE)])
    try:
        assert live_memory._entries(os.getpid(), pagemap, wanted) == PageRuns.of([(start + 4 * PAGE, start + 6 * PAGE)])
    finally:
        os.close(pagemap)


def test_pages_of_files_that_it_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "mapped"
    path.write_bytes(b"".join(f"page {page}".encode().ljust(PAGE, b".") for page in range(40)))
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 40 * PAGE, flags=mmap.MAP_PRIVATE)
    memory.madvise(mmap.MADV_RANDOM)
    memory[2 * PAGE] = ord("P")
    start = where(memory)
    os.truncate(path, 39 * PAGE + 5)
    with open_live_memory(os.getpid()) as reader:
        assert reader.read(start + 2 * PAGE, 6) == b"Page 2" and reader.owner(start + 2 * PAGE).kind is OwnerKind.LIVE
        assert reader.read(start + 30 * PAGE, 7) == b"page 30" and str(reader.owner(start + 30 * PAGE)) == f"file {path}"
        assert reader.read(start + 39 * PAGE, PAGE) == b"page " + bytes(PAGE - 5)
    os.truncate(path, 35 * PAGE)
    with open_live_memory(os.getpid()) as reader, pytest.raises(LaminaError, match="behind the end of the mapped file"):
        reader.read(start + 36 * PAGE, 1)


def test_shared_memory_that_another_wrote() -> None:
    """A page that only a child touched is not in our page table, and is not zero."""
    memory = mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    start = where(memory)
    child = os.fork()
    if not child:
        memory[3 * PAGE : 3 * PAGE + 5] = b"child"
        os._exit(0)
    os.waitpid(child, 0)
    with open_live_memory(os.getpid()) as reader:
        area = reader.area_at(start)
        assert area is not None and area.kind is AreaKind.SHARED
        if os.geteuid():
            pytest.skip("shared memory without a name is opened with CAP_CHECKPOINT_RESTORE")
        assert reader.read(start + 3 * PAGE, 5) == b"child" and reader.read(start + 5 * PAGE, 4) == bytes(4)


def test_what_is_unmapped_meanwhile_is_left_out(anonymous: tuple[mmap.mmap, int]) -> None:
    other = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    other[:] = b"x" * (4 * PAGE)
    start = where(other)
    wanted = PageRuns.of([(start, start + 4 * PAGE)])
    with open_live_memory(os.getpid()) as reader:
        libc = ctypes.CDLL(None)
        assert libc.munmap(ctypes.c_void_p(start + PAGE), ctypes.c_size_t(2 * PAGE)) == 0
        seen = [(address - start, len(view), last) for address, view, _, last in reader.windows(wanted)]
        assert seen == [(0, PAGE, True), (3 * PAGE, PAGE, True)] or (seen and seen[-1] == (3 * PAGE, PAGE, True))
        with pytest.raises(LaminaError, match="unmapped meanwhile"):
            reader.read(start, 4 * PAGE)
        assert reader.window(start + 3 * PAGE, 4).data == b"xxxx"
    libc.mmap.restype = ctypes.c_void_p
    # Python unmaps all of it in the end, and must not meet somebody else's memory there.
    libc.mmap(ctypes.c_void_p(start + PAGE), ctypes.c_size_t(2 * PAGE), 3, 0x32, -1, ctypes.c_long(0))


def test_processes_that_cannot_be_read() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TargetError, match="it may have ended|it has none"):
        open_live_memory(child.pid)
    child.wait()
    with pytest.raises(TargetError, match="no such process"):
        open_live_memory(child.pid)
