"""Grace periods: time in which writes land that go past the page tables of a running tree (docs/tracking.md, "Pinned pages")."""

from collections.abc import Iterable
from dataclasses import dataclass

# Not from its submodule: threads that begin a package's circle of imports at two ends find a deadlock.
from ptrace.syscall import SYSCALL_NAMES

from lamina.core.ffi import C, check, ffi, new_error


@dataclass(frozen=True)
class Grace:
    """What one grace period saw.

    Attributes:
        threads: how many there were.
        interrupted: of these, stopped for a moment, each by itself; the others slept in a call that pins no memory.
        late: of these, still in the call they were in at first, as a read from a slow disk. What was protected before may yet be written.
        late_tid, late_call: one of the late and its call's name; 0 and "" if there is none.
    """

    threads: int
    interrupted: int
    late: int
    late_tid: int = 0
    late_call: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing that was pinned before it is pinned any more."""
        return not self.late


def grace_period(pids: Iterable[int], patience_s: float) -> Grace:
    """Wait until every thread of the running processes *pids* was outside any call that can pin memory to write to it.

    About 20 µs for each thread, and as long as such a call takes, at most *patience_s* seconds. Nobody stands still meanwhile.

    Raises:
        NativeError: no thread or no memory for it could be had.
    """
    listed, grace, err = list(pids), ffi.new("lm_grace *"), new_error()
    check(C.lm_grace_period(ffi.new("int32_t[]", listed), len(listed), int(patience_s * 1e9), grace, err), err)
    name = SYSCALL_NAMES.get(grace.late_call, "") if grace.late else ""
    return Grace(grace.threads, grace.interrupted, grace.late, grace.late_tid, name)
