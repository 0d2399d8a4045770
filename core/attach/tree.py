"""Freezing a whole tree, and letting it go. Runs on the tracer thread.

`FrozenTree` is a context manager: whatever happens inside, every thread gets its registers and mask back, all are released and the scratch
ranges are unmapped. By ptrace alone: a SIGSTOP or a frozen cgroup would outlive a dead lamina.
"""

import errno
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lamina.core.attach.calls import CallList
from lamina.core.attach.guarded import LATE, find_syscall, no_calls
from lamina.core.attach.procfs import children_of, describe, is_running, read_maps, read_stat, read_status
from lamina.core.attach.scratch import MAP_FLAGS, PROT_ALL, free_range, is_there, map_scratch, unmap_scratch
from lamina.core.attach.tracee import SLICE, Tracee, choose_end_signal, run_together
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error

# Threads that may start between `FrozenTree.prepare` and the freeze; with more of them, they take turns.
SPARE_SLICES = 4
# A `struct kernel_sigaction`, and the first field of one that ignores; where it is put: well below the red zone.
SIGACTION_BYTES, SIG_IGN, ROOM_BELOW_STACK = 32, (1).to_bytes(8, "little"), 512
# How long another thread may keep the interpreter inside a freeze.
SWITCH_INTERVAL_S = 1e-5


def scratch_bytes(threads: int) -> int:
    """The size of the scratch range of a process with that many threads."""
    return (threads + SPARE_SLICES) * SLICE


class FrozenProcess:
    """One frozen process: its threads as tracees, the leader first.

    Attributes:
        pid: process id.
        tracees: one per thread.
        areas: its mappings, without the scratch range.
        scratch: address and size of the scratch range; size 0 while there is none, also if the program unmapped it.
        frozen_ns: CLOCK_MONOTONIC when its first thread was interrupted.
    """

    def __init__(self, pid: int, limit_ns: int, scratch: tuple[int, int] = (0, 0)) -> None:
        """*limit_ns*: when all threads have to stand still, CLOCK_MONOTONIC.

        Raises:
            TargetError: it cannot be traced, has ended, or a thread did not stop; it runs on.
        """
        self.pid = pid
        self._threads, count, self.frozen_ns = self._freeze(limit_ns)
        self.tracees = [Tracee(pid, ffi.addressof(self._threads, i)) for i in range(count)]
        self._count = count
        self._ignored = 0
        areas = read_maps(pid)
        self.scratch = scratch if is_there(areas, *scratch) else (0, 0)
        self.areas = [area for area in areas if (area.start, area.size) != self.scratch]

    def _freeze(self, limit_ns: int) -> tuple[Any, int, int]:
        room = read_stat(self.pid).num_threads + 16
        while True:
            threads = ffi.new("lm_thread[]", room)
            count, frozen_ns, err = ffi.new("int *", room), ffi.new("uint64_t *"), new_error()
            try:
                check(C.lm_freeze_task(self.pid, threads, count, limit_ns, frozen_ns, err), err)
            except NativeError as error:
                if error.where == "freeze" and error.object_id > room:
                    room = error.object_id
                    continue
                if error.errnum == errno.ETIMEDOUT:
                    raise TargetError("cannot freeze", describe(self.pid), error.detail, LATE) from error
                raise TargetError("cannot freeze", describe(self.pid), str(error)) from error
            return threads, int(count[0]), int(frozen_ns[0])

    @property
    def leader(self) -> Tracee:
        """The thread group leader."""
        return self.tracees[0]

    def check_threads(self) -> None:
        """See that calls can be made in every thread.

        Raises:
            TargetError: they cannot, as in 32-bit code or under system call user dispatch.
        """
        for tracee in self.tracees:
            err = new_error()
            try:
                check(C.lm_may_inject(tracee.thread, err), err)
            except NativeError as error:
                raise no_calls(self.pid, error) from error

    def begin_batches(self) -> None:
        """Give every thread its slice of the scratch range, and choose how batches end."""
        status = read_status(self.pid)
        signal = self._end_signal(status)
        self._ignored = int(status["SigIgn"], 16)
        address, size = self.scratch
        for index, tracee in enumerate(self.tracees):
            tracee.page, tracee.signal = address + index * SLICE % size, signal

    def map_here(self, announce: Callable[[int, int], None]) -> None:
        """Map a scratch range now, inside the freeze and without a guardian: for a process that appeared since they were prepared."""
        address, size = free_range(self.areas, SPARE_SLICES * SLICE), SPARE_SLICES * SLICE
        at = find_syscall(self.pid, self.areas)
        announce(address, size)
        got = self.leader.step(at, "mmap", address, size, PROT_ALL, MAP_FLAGS, -1, 0)
        if got != address:
            raise TargetError("cannot make calls in", describe(self.pid), f"mapping a scratch range answered {got}")
        self.scratch = (address, size)

    def put_back_ignored(self) -> None:
        """After a batch failed: a signal that the kernel forced on a thread is no longer ignored, if it was (kernel/signal.c).

        A handler of the program's own stays, because nothing blocks it while calls of ours run.
        """
        lost = self._ignored & ~int(read_status(self.pid)["SigIgn"], 16)
        at = find_syscall(self.pid, self.areas) if lost else 0
        # No scratch range may be left: room below what the leader's own stack holds, put back as it was.
        room = (int(self.leader.thread.regs.rsp) - ROOM_BELOW_STACK) & ~15
        with Path(f"/proc/{self.pid}/mem").open("r+b", buffering=0) as memory:
            for number in (number for number in range(1, 65) if lost >> (number - 1) & 1):
                memory.seek(room)
                before = memory.read(SIGACTION_BYTES)
                self.leader.step(at, "rt_sigaction", number, 0, room, 8)
                memory.seek(room)
                memory.write(SIG_IGN)
                self.leader.step(at, "rt_sigaction", number, room, 0, 8)
                memory.seek(room)
                memory.write(before)

    def _end_signal(self, status: dict[str, str]) -> int:
        blocked, pending = 0, int(status["ShdPnd"], 16)
        for tracee in self.tracees:
            blocked |= int(tracee.thread.sigmask)
            if tracee.thread.sigmask:
                pending |= int(read_status(self.pid, tracee.tid)["SigPnd"], 16)
        return choose_end_signal(int(status["SigCgt"], 16), blocked, pending)

    def run_everywhere(self, lists: dict[int, CallList]) -> None:
        """Run one call list per thread id: all at the same time, as far as the slices go."""
        busy = [tracee for tracee in self.tracees if tracee.tid in lists]
        slices = self.scratch[1] // SLICE
        for at in range(0, len(busy), slices):
            run_together(busy[at : at + slices], lists)

    def is_inside(self, address: int, size: int) -> bool:
        """Whether a thread is about to run code in that range: a batch of a lamina that died is not through yet."""
        return any(address <= int(tracee.thread.regs.rip) < address + size for tracee in self.tracees)

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
        thawed_ns: when the last process was let go, CLOCK_MONOTONIC; 0 until then. What is taken out after it stops one thread.
    """

    def __init__(self, root: int, announce: Callable[[int, int, int], None] = lambda *_: None) -> None:
        """*announce(pid, address, size)* is called before a scratch range is mapped in pid, and with size 0 after it is gone."""
        self.root = root
        self.processes: list[FrozenProcess] = []
        self.zombies: list[int] = []
        self.parents: dict[int, int] = {}
        self.thawed_ns = 0
        self._announce = announce
        self._scratch: dict[int, tuple[int, int]] = {}
        self._killed = False
        self._checked = False
        self._limit_ns = 0
        self._interval = sys.getswitchinterval()

    def prepare(self, pid: int) -> None:
        """Before the freeze: map the scratch range of *pid*, so that calls can be made inside it.

        Raises:
            TargetError: it cannot be traced, or has no room.
        """
        try:
            size = scratch_bytes(read_stat(pid).num_threads)
            address = free_range(read_maps(pid), size)
            self._announce(pid, address, size)
            self._scratch[pid] = (address, size)
            map_scratch(pid, address, size)
        except TargetError:
            # A child may end at any moment before the freeze, which finds out what is left of the tree.
            if pid == self.root or is_running(pid):
                raise

    def abandon(self) -> None:
        """No freeze will follow `prepare`: unmap what it mapped."""
        self._release(quiet=True)

    def __enter__(self) -> Self:
        # A screen that repaints in another thread keeps the interpreter for up to 5 ms each time a call of ours returns.
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._limit_ns = C.lm_stop_limit()
        try:
            self._freeze(self.root)
        except BaseException:
            self._release(quiet=True)
            raise
        return self

    def _freeze(self, pid: int) -> None:
        # A frozen parent has no new children, so its list is read after its freeze.
        try:
            if pid != self.root and read_stat(pid).state == "Z":
                self.zombies.append(pid)
                return
            self.processes.append(FrozenProcess(pid, self._limit_ns, self._scratch.get(pid, (0, 0))))
        except TargetError:
            if pid == self.root or is_running(pid):
                raise
            self._ended(pid)
            return
        for child in children_of(pid):
            self.parents[child] = pid
            self._freeze(child)

    def _ended(self, pid: int) -> None:
        """A child that ended while we came to it: a zombie of its frozen parent, or gone if the parent ignores SIGCHLD."""
        try:
            read_stat(pid)
        except TargetError:
            del self.parents[pid]
        else:
            self.zombies.append(pid)

    def __iter__(self) -> Iterator[FrozenProcess]:
        return iter(self.processes)

    @property
    def pids(self) -> tuple[int, ...]:
        """All of the tree, the root first, zombies included."""
        return (self.root, *self.parents)

    def prepare_scratch(self, process: FrozenProcess) -> None:
        """Make *process* ready for batches. The first time, every thread of the whole tree is looked at before anything runs in one.

        Raises:
            TargetError: calls cannot be made in some thread, or there is no room for a scratch range.
        """
        if not self._checked:
            for each in self.processes:
                each.check_threads()
            self._checked = True
        if not process.scratch[1]:
            process.map_here(lambda address, size: self._announce(process.pid, address, size))
            self._scratch[process.pid] = process.scratch
        process.begin_batches()

    def kill(self) -> None:
        """End the whole tree, children first, and reap what can be reaped. Nothing is thawed afterwards."""
        self._killed = True
        for process in reversed(self.processes):
            process.kill()

    def _release(self, quiet: bool) -> None:
        steps: list[Callable[[], None]] = []
        if quiet:
            steps += [process.put_back_ignored for process in self.processes]
        if not self._killed:
            steps += [process.thaw for process in self.processes]
            steps.append(self._note_thaw)
        steps.append(partial(sys.setswitchinterval, self._interval))
        steps += [partial(self._drop_scratch, pid) for pid in list(self._scratch)]
        first: Exception | None = None
        for step in steps:
            try:
                step()
            except Exception as error:
                first = first or error
        if first and not quiet and any(map(is_running, self.pids)):
            raise first

    def _note_thaw(self) -> None:
        self.thawed_ns = time.monotonic_ns()

    def _drop_scratch(self, pid: int) -> None:
        # What cannot be unmapped now (another tracer was quicker) stays noted, and the next command takes it away.
        if not self._killed and is_running(pid):
            scratch = self._scratch.pop(pid)
            if is_there(read_maps(pid), *scratch):
                unmap_scratch(pid, *scratch)
            self._announce(pid, 0, 0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._release(quiet=kind is not None)
