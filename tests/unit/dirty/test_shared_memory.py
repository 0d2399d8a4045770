"""Shared anonymous memory as maps shows it, and what a witness of it concludes. What it is for: tests/live/test_shared_steps.py."""

import mmap
import os
from dataclasses import replace

from lamina.core.attach.procfs import Area, read_maps
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.shared_memory import SHOWN, Mapped, SharedObject, Witness, mappers_outside, mappings_of
from lamina.core.ffi import ffi

KEY = ("00:01", 7)
THEN = Witness.of([os.getpid()], {KEY: [Mapped(1, 4096, 8192, 0)]}, {KEY: 7})


def test_it_is_known_by_what_maps_shows_named_or_not() -> None:
    for path in ("/dev/zero (deleted)", "[anon_shmem:words]"):
        area = Area(4096, 8192, "rw-s", 0, "00:01", 7, path)
        assert area.is_shared_memory and not area.is_file
        assert any(shown in f"1000-2000 rw-s 00000000 00:01 7 {path}\n".encode() for shown in SHOWN), "then nobody outside is looked for"
        assert not replace(area, perms="rw-p").is_shared_memory


def test_a_process_outside_that_maps_it_is_found() -> None:
    memory = mmap.mmap(-1, 4 * PAGE)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        os.write(told, b"x")
        os.read(os.pipe()[0], 1)  # for ever
    try:
        os.read(ready, 1)
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
        (key,) = [(area.dev, area.inode) for area in read_maps(child) if area.start == address and area.is_shared_memory]
        assert key in mappings_of({child: read_maps(child)})
        # This process is never counted: it has what it looks at mapped itself.
        assert mappers_outside([key], []) == {key: child}
        assert mappers_outside([key], [child]) == {}
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


def test_pages_that_are_there_and_those_that_are_zero() -> None:
    memory = mmap.mmap(-1, 8 * PAGE)
    memory[PAGE] = memory[2 * PAGE + 77] = memory[5 * PAGE] = 1
    memory[5 * PAGE] = 0
    address = int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
    (area,) = [area for area in read_maps(os.getpid()) if area.start == address]
    shared = SharedObject((area.dev, area.inode), [Mapped.of(os.getpid(), area)])
    try:
        there = shared.data().shifted(-shared.base)
        assert there == PageRuns.of([(PAGE, 3 * PAGE), (5 * PAGE, 6 * PAGE)])
        assert shared.zero(shared.data()).shifted(-shared.base) == PageRuns.of([(5 * PAGE, 6 * PAGE)])
    finally:
        shared.close()


def test_what_a_witness_trusts() -> None:
    def why(now: Witness, unseen: bool = False) -> str:
        return THEN.why_not(now, KEY, lambda: unseen)

    assert why(THEN, unseen=True) == "", "nobody at all has forked"
    forked = replace(THEN, forks=THEN.forks + 1)
    assert why(forked) == ""
    assert "ignores the ends" in why(forked, unseen=True)
    assert "was forked" in why(replace(forked, tasks={**THEN.tasks, "5": [1, 2]}))
    assert "mapped anew" in why(replace(THEN, mappings={}))
