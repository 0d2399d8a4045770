"""A process while it is being rebuilt: its traced threads, and the range in its memory from which calls are made. For the tracer thread."""

import mmap
from collections.abc import Iterable
from typing import Any

from lamina.core.attach.calls import CallList
from lamina.core.attach.guarded import find_syscall
from lamina.core.attach.procfs import describe, read_maps
from lamina.core.attach.tracee import END_SIGNALS, Tracee, run_together
from lamina.core.errors import TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.restore import layout
from lamina.core.restore.layout import PARKING, Span

ALL_SIGNALS = (1 << 64) - 1
TRACING = C.LM_OPT_EXITKILL | C.LM_OPT_TRACE_EXEC | C.LM_OPT_TRACE_CLONE
MAP_FIXED_NOREPLACE = 0x100000
LIMIT_S = 120.0
"""How long one batch may take: it opens files, and moves and collapses memory."""


def end_signal(queued: Iterable[int]) -> int:
    """A signal to end batches with: one that is not among those that wait for the program.

    Its action does not matter: while a process is being rebuilt its tracer sees every signal first, and if the tracer dies so does it.

    Raises:
        TargetError: all of them wait.
    """
    taken = set(queued)
    for number in END_SIGNALS.values():
        if number not in taken:
            return number
    raise TargetError("cannot make calls in", "the program", f"{', '.join(END_SIGNALS)} are all queued for it")


class Rebuilding:
    """One process being rebuilt.

    Attributes:
        pid: process id.
        threads: its threads as tracees, the leader first.
        scratch: the range that batches use, in the gaps of both the old and the new memory; (0, 0) while there is none.
        syscall: address of a `syscall` instruction outside `scratch`.
        signal: what its batches end with.
    """

    def __init__(self, pid: int, signal: int) -> None:
        self.pid = pid
        self.signal = signal
        self.scratch: Span = (0, 0)
        self.syscall = 0
        self._structs: list[Any] = []
        self.threads: list[Tracee] = []

    @property
    def leader(self) -> Tracee:
        """The thread group leader."""
        return self.threads[0]

    @property
    def parking(self) -> int:
        """Start of a free range of `PARKING` bytes."""
        return self.scratch[1]

    def add_thread(self, tid: int) -> Tracee:
        """Take a stopped, traced thread on; its signals are blocked from here on."""
        thread = ffi.new("lm_thread *")
        thread.tid = tid
        tracee = Tracee(self.pid, thread, self.signal)
        tracee.limit_s = LIMIT_S
        tracee.read()
        block_signals(tracee)
        self._structs.append(thread)
        self.threads.append(tracee)
        return tracee

    def exec_done(self) -> None:
        """Its leader has just come out of execve: what was known of its memory is void."""
        self.threads.clear()
        self._structs.clear()
        self.add_thread(self.pid)

    def make_scratch(self, image: list[Span], slices: list[int]) -> None:
        """Map the scratch range where neither the memory it has now nor *image* is.

        *slices*: bytes for each thread to be, the leader first.

        Raises:
            ImageError: no room. TargetError: the kernel refused.
        """
        areas = read_maps(self.pid)
        self.syscall = find_syscall(self.pid, areas)
        size = sum(slices)
        start = layout.free_span([*image, *((area.start, area.end) for area in areas)], size + PARKING)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        got = self.leader.step(self.syscall, "mmap", start, size, 7, flags, -1, 0)
        if got != start:
            raise TargetError("cannot make calls in", describe(self.pid), f"mapping a scratch range answered {got}")
        self.scratch = (start, start + size)
        self.leader.page, self.leader.size = start, slices[0]

    def drop_scratch(self) -> None:
        """Unmap the scratch range; no batch can run afterwards."""
        start, end = self.scratch
        got = self.leader.step(self.syscall, "munmap", start, end - start)
        if got:
            raise TargetError("cannot rebuild", describe(self.pid), f"unmapping the scratch range answered {got}")
        self.scratch = (0, 0)

    def run(self, calls: CallList) -> None:
        """Make calls in the leader."""
        if calls.calls:
            self.leader.run(calls)

    def run_everywhere(self, lists: dict[int, CallList]) -> None:
        """Make calls in several threads at the same time, by thread id."""
        busy = [tracee for tracee in self.threads if lists.get(tracee.tid) and lists[tracee.tid].calls]
        run_together(busy, lists)


def block_signals(tracee: Tracee) -> None:
    """Nothing but batches runs in it until its registers are put in: its signals wait."""
    tracee.thread.sigmask = ALL_SIGNALS
    tracee.write()


def adopt(tid: int) -> None:
    """Wait for the first stop of a thread or process that the kernel attached for us."""
    thread, err = ffi.new("lm_thread *"), new_error()
    check(C.lm_adopt(tid, thread, err), err)
