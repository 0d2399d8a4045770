"""Whatever was copied when, in which order: the finished file holds the wanted pages in address order, each as it was last."""

import ctypes
import mmap
import os
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.attach.procfs import PAGE
from lamina.core.dirty.runs import PageRuns
from lamina.core.dump.memory import PageStore, WarmMemory

PAGES = 48
pages = st.sets(st.integers(0, PAGES - 1))


class Memory:
    """Pages of this very process, each filled with one number."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, PAGES * PAGE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.values = [0] * PAGES

    def write(self, which: set[int], value: int) -> None:
        for page in which:
            self.values[page] = value
            self.map[page * PAGE : (page + 1) * PAGE] = bytes([value]) * PAGE

    def runs(self, which: set[int]) -> PageRuns:
        return PageRuns.from_pages([self.base + page * PAGE for page in which])


@settings(max_examples=150, deadline=None)
@given(
    rounds=st.lists(st.tuples(pages, pages), max_size=4),
    residue=pages,
    dropped=pages,
    room=st.sampled_from([0, 8, PAGES]),
)
def test_the_finished_file_is_the_last_state_in_address_order(
    rounds: list[tuple[set[int], set[int]]], residue: set[int], dropped: set[int], room: int
) -> None:
    memory = Memory()
    warm = WarmMemory(room * PAGE)
    opened: list[int] = []

    def spool() -> int:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
        opened.append(fd)
        return fd

    store = PageStore(os.getpid(), spool, warm)
    moved = 0

    def count(size: int) -> None:
        nonlocal moved
        moved += size

    known: set[int] = set()
    for number, (written, also) in enumerate(rounds, 1):
        memory.write(written, number)
        # As in a dump: what was written since the last round is copied in this one.
        store.add(memory.runs(written | also), count)
        known |= written | also
    memory.write(residue, 99)
    store.add_residue(memory.runs(residue), count)
    wanted = (known | residue) - dropped
    fd = store.finish(memory.runs(wanted), count)
    expected = b"".join(bytes([memory.values[page]]) * PAGE for page in sorted(wanted))
    assert os.pread(fd, len(expected) + PAGE, 0) == expected
    assert moved >= len(expected)
    os.close(opened[-1])
    for left in opened:
        try:
            os.fstat(left)
        except OSError:
            continue
        raise AssertionError("a spool was left open")
