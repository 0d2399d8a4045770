"""Freezing a whole tree, and letting it go. Runs on the tracer thread.

`FrozenTree` is a context manager: whatever happens inside, every thread gets its registers and mask back, the scratch ranges are
unmapped and all are released. By ptrace alone: a SIGSTOP or a frozen cgroup would outlive a dead lamina.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import PAGE, Area, children_of, describe, read_maps, read_stat, read_status
from lamina.core.attach.tracee import SLICE, Tracee, choose_end_signal
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error

SYSCALL_INSTRUCTION = b"\x0f\x05"
# Keep clear of areas that grow (stack guard gap 1 MiB, brk) by this much.
MARGIN = 4 << 20
# Threads that may start between `FrozenTree.reserve` and the freeze.
SPARE_SLICES = 8
ADDRESS_LIMIT = 0x7FFF_FFFF_F000


@cache
def _own_vdso_syscall() -> int:
    """Offset of a `syscall` instruction in the vdso, which is the same bytes in every process of this kernel."""
    vdso = next(area for area in read_maps_of_self() if area.path == "[vdso]")
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(vdso.start)
        return memory.read(vdso.size).index(SYSCALL_INSTRUCTION)


def read_maps_of_self() -> list[Area]:
    """The mappings of lamina itself."""
    return read_maps(os.getpid())


def find_syscall(pid: int, areas: list[Area]) -> int:
    """Address of a `syscall` instruction in the memory of *pid*: in its vdso, else in any code it has.

    Raises:
        TargetError: there is none.
    """
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for area in areas:
            if area.path == "[vdso]":
                at = area.start + _own_vdso_syscall()
                memory.seek(at)
                if at < area.end and memory.read(2) == SYSCALL_INSTRUCTION:
                    return at
        for area in areas:
            if area.perms[2] == "x" and area.path != "[vsyscall]":
                memory.seek(area.start)
                try:
                    found = memory.read(area.size).find(SYSCALL_INSTRUCTION)
                except OSError:
                    continue
                if found >= 0:
                    return area.start + found
    raise TargetError("cannot make calls in", describe(pid), "no `syscall` instruction in its memory")


def free_range(areas: list[Area], size: int) -> int:
    """An address where *size* bytes are free, in the middle of the widest gap between *areas* (ascending).

    Raises:
        TargetError: no gap is wide enough.
    """
    edges = [(area.start, area.end) for area in areas if area.start < ADDRESS_LIMIT]
    starts = [1 << 20, *(end for _, end in edges)]
    ends = [*(start for start, _ in edges), ADDRESS_LIMIT]
    width, start = max((end - start, start) for start, end in zip(starts, ends, strict=True))
    if width < size + 2 * MARGIN:
        raise TargetError("cannot map", "a scratch range", "the address space has no free gap for it")
    return (start + (width - size) // 2) // PAGE * PAGE


class FrozenProcess:
    """One frozen process: its threads as tracees, the leader first.

    Attributes:
        pid: process id.
        tracees: one per thread.
        areas: its mappings, read before the scratch range existed.
        frozen_ns: CLOCK_MONOTONIC when its first thread was interrupted.
    """

    def __init__(self, pid: int, options: int) -> None:
        self.pid = pid
        self._scratch = (0, 0)
        self._syscall = 0
        self._threads, count, self.frozen_ns = self._freeze(options)
        self.tracees = [Tracee(pid, ffi.addressof(self._threads, i)) for i in range(count)]
        self._count = count
        self.areas = read_maps(pid)

    def _freeze(self, options: int) -> tuple[Any, int, int]:
        room = read_stat(self.pid).num_threads + 16
        while True:
            threads = ffi.new("lm_thread[]", room)
            count, frozen_ns, err = ffi.new("int *", room), ffi.new("uint64_t *"), new_error()
            try:
                check(C.lm_freeze_task(self.pid, options, threads, count, frozen_ns, err), err)
            except NativeError as error:
                if error.where == "freeze" and error.object_id > room:
                    room = error.object_id
                    continue
                raise TargetError("cannot freeze", describe(self.pid), str(error)) from error
            return threads, int(count[0]), int(frozen_ns[0])

    @property
    def leader(self) -> Tracee:
        """The thread group leader."""
        return self.tracees[0]

    def prepare_scratch(self, announce: Callable[[int, int], None], reserved: tuple[int, int] = (0, 0)) -> None:
        """Map a range for batches, one slice a thread. *announce(address, size)* is called before, so that it can be found after a crash,
        unless the *reserved* range, which was announced before the freeze, still fits.

        Raises:
            TargetError: no signal is left to end batches with, no room, or the kernel refuses the mapping.
        """
        if self._scratch[1]:
            return
        signal = self._end_signal()
        if not signal:
            raise TargetError("cannot make calls in", describe(self.pid), "it uses SIGURG, SIGWINCH and SIGCHLD, all three")
        size = len(self.tracees) * SLICE
        self._syscall = find_syscall(self.pid, self.areas)
        address, room = reserved
        if size > room or any(area.start < address + room + MARGIN and area.end > address - MARGIN for area in self.areas):
            address = free_range(self.areas, size)
            announce(address, size)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE
        got = self.leader.step(self._syscall, "mmap", address, size, 7, flags, -1, 0)
        if got != address:
            raise TargetError("cannot make calls in", describe(self.pid), f"mapping a scratch range answered {got}")
        self._scratch = (address, size)
        for index, tracee in enumerate(self.tracees):
            tracee.page, tracee.signal = address + index * SLICE, signal

    def _end_signal(self) -> int:
        status = read_status(self.pid)
        blocked, pending = 0, int(status["ShdPnd"], 16)
        for tracee in self.tracees:
            blocked |= int(tracee.thread.sigmask)
            if tracee.thread.sigmask:
                pending |= int(read_status(self.pid, tracee.tid)["SigPnd"], 16)
        return choose_end_signal(int(status["SigCgt"], 16), blocked, pending)

    def run_everywhere(self, lists: dict[int, CallList]) -> None:
        """Run one call list per thread id, all at the same time."""
        busy = [tracee for tracee in self.tracees if tracee.tid in lists]
        for tracee in busy:
            tracee.start(lists[tracee.tid])
        first: Exception | None = None
        for tracee in busy:
            try:
                tracee.finish()
            except Exception as error:
                first = first or error
        if first:
            raise first

    def drop_scratch(self) -> None:
        """Unmap the scratch range."""
        address, size = self._scratch
        if size:
            self._scratch = (0, 0)
            self.leader.step(self._syscall, "munmap", address, size)

    def unmap(self, address: int, size: int) -> None:
        """Unmap a range that a dead lamina left behind."""
        self.leader.step(find_syscall(self.pid, self.areas), "munmap", address, size)

    def thaw(self) -> None:
        """Let every thread go on. Harmless if it is gone."""
        err = new_error()
        check(C.lm_thaw_task(self._threads, self._count, err), err)

    def kill(self) -> None:
        """End the process by SIGKILL and reap its threads as their tracer; its parent reaps the process."""
        err = new_error()
        check(C.lm_kill_task(self.pid, self._threads, self._count, err), err)


class FrozenTree:
    """A process and everything below it, frozen while the `with` block runs.

    Attributes:
        processes: frozen processes, parents before children.
        zombies: pids of the tree that have exited but are not reaped.
        parents: pid → parent pid, for all but the root.
    """

    def __init__(self, root: int, options: int = 0, announce: Callable[[int, int, int], None] = lambda *_: None) -> None:
        """*announce(pid, address, size)* is called before a scratch range is mapped in pid, and with size 0 after it is gone."""
        self.root = root
        self.processes: list[FrozenProcess] = []
        self.zombies: list[int] = []
        self.parents: dict[int, int] = {}
        self._options = options
        self._announce = announce
        self._reserved: dict[int, tuple[int, int]] = {}
        self._killed = False

    def reserve(self, pid: int) -> None:
        """Before the freeze: choose and announce the scratch range of *pid*, so that the freeze need not write a file."""
        size = (read_stat(pid).num_threads + SPARE_SLICES) * SLICE
        address = free_range(read_maps(pid), size)
        self._announce(pid, address, size)
        self._reserved[pid] = (address, size)

    def __enter__(self) -> Self:
        try:
            self._freeze(self.root)
        except BaseException:
            self._release(quiet=True)
            raise
        return self

    def _freeze(self, pid: int) -> None:
        # A frozen parent has no new children, so its list is read after its freeze.
        if pid != self.root and read_stat(pid).state == "Z":
            self.zombies.append(pid)
            return
        self.processes.append(FrozenProcess(pid, self._options))
        for child in children_of(pid):
            self.parents[child] = pid
            self._freeze(child)

    def __iter__(self) -> Iterator[FrozenProcess]:
        return iter(self.processes)

    @property
    def pids(self) -> tuple[int, ...]:
        """All of the tree, the root first, zombies included."""
        return (self.root, *self.parents)

    def prepare_scratch(self, process: FrozenProcess) -> None:
        """Make *process* ready for batches."""
        reserved = self._reserved.get(process.pid, (0, 0))
        process.prepare_scratch(lambda address, size: self._announce(process.pid, address, size), reserved)

    def kill(self) -> None:
        """End the whole tree, children first, and reap what can be reaped. Nothing is thawed afterwards."""
        self._killed = True
        for process in reversed(self.processes):
            process.kill()

    def _release(self, quiet: bool) -> None:
        first: Exception | None = None
        for process in self.processes:
            steps: list[Callable[[], None]] = [] if self._killed else [process.drop_scratch, process.thaw]
            for step in steps:
                try:
                    step()
                except Exception as error:
                    first = first or error
        for process in self.processes if not first else ():
            self._announce(process.pid, 0, 0)
        if first and not quiet:
            raise first

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._release(quiet=kind is not None)
