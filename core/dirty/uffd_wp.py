"""The tracker of Linux 6.7 and later: asynchronous write-protection by a userfaultfd, read and renewed by PAGEMAP_SCAN.

Exact to 4 KiB, also under huge pages, and without a handler: the kernel notes the first write to a protected page and lets it pass.
Tracking lives as long as the userfaultfd stays open, so it is left in the target, where it outlives lamina.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from lamina.core.attach.calls import CallList, Inside
from lamina.core.attach.guarded import GuardedCall, ResultOf, guarded_calls
from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import Area, describe, fds_of, read_maps, read_status
from lamina.core.dirty.held import LET_ALONE, HeldUffd, Whose, clear_out, fetch, held_uffds, leftovers, uffd_fdinfo, why_let_alone
from lamina.core.dirty.made import mark, note_made
from lamina.core.dirty.registration import Refusal, Registration
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.scan import Scanner, split_at_areas
from lamina.core.dirty.tracker import Capability, Report, Tracker
from lamina.core.errors import TargetError
from lamina.core.ffi import C, check, ffi, new_error

NAME = "uffd-wp async"
F_DUPFD_CLOEXEC = 1030
# Above this a table of descriptors grows so much that every fork of the target pays for it, unless it has grown so far already.
HIGHEST_FD = 1024

Claim = Callable[[int, int], None]


def probe() -> Capability:
    """Try it on our own memory. By doing, never by version: under 1 ms."""
    errnum, err = ffi.new("int32_t *"), new_error()
    answer = check(C.lm_uffd_probe(errnum, err), err)
    reason = {
        C.LM_UFFD_WORKS: "",
        C.LM_UFFD_NO_CALL: f"userfaultfd: {os.strerror(errnum[0])}",
        C.LM_UFFD_NO_ASYNC: "the kernel has no asynchronous write-protection (Linux 6.7)",
        C.LM_UFFD_NO_SCAN: f"PAGEMAP_SCAN: {os.strerror(errnum[0])}" if errnum[0] else "PAGEMAP_SCAN is missing (Linux 6.7)",
        C.LM_UFFD_WRONG: "the kernel gives a wrong answer for a page that was written or moved",
    }[answer]
    return Capability(NAME, answer == C.LM_UFFD_WORKS, reason)


def _not_remembered(_fd: int, _ino: int) -> None:
    """For a tracker that lives no longer than this lamina."""


class UffdTracker(Tracker):
    """The tracker of one process by userfaultfd. Its own descriptors are released by `close`.

    Attributes:
        uffd_fd: number of the userfaultfd in the target; -1 while there is none.
        uffd_ino: its inode.
        refused: what the last `arm` or `extend` could not register.
    """

    name = NAME

    def __init__(self, identity: Identity, claim: Claim = _not_remembered) -> None:
        """claim(fd, ino): called before a userfaultfd is made in the target, with ino 0, and again when its inode is known.

        It writes the state file, so that a descriptor left by a lamina that was killed in between is still known as lamina's.
        """
        super().__init__(identity)
        self.uffd_fd = -1
        self.uffd_ino = 0
        self.refused: tuple[Refusal, ...] = ()
        self._claim = claim
        self._uffd = -1
        self._registration = Registration()
        self._scanner = Scanner(identity)

    # -- finding and making the descriptor -------------------------------------------------------------------------------------------

    def adopt(self) -> bool:
        """Go on with the userfaultfd an earlier lamina left, if there is one and it is proved to be this process's own.

        The proof is the inode that the state file of this very process notes, and, where a protected page can be found, the deed: a page
        let go through the descriptor must be let go here. Works on a running target.
        """
        ours = [held for held in held_uffds(self.identity) if held.whose is Whose.OURS]
        return any(self._take(held) for held in ours)

    def _take(self, held: HeldUffd) -> bool:
        copy = fetch(self.pid, held.fd)
        try:
            proved = self._is_proved(copy, held.ino)
        except BaseException:
            os.close(copy)
            raise
        if not proved:
            os.close(copy)
            return False
        self._release()
        self._uffd, self.uffd_fd, self.uffd_ino = copy, held.fd, held.ino
        note_made(held.ino)
        self._claim(held.fd, held.ino)
        return True

    def _is_proved(self, copy: int, ino: int) -> bool:
        if uffd_fdinfo(os.getpid(), copy)[0] != ino:
            return False  # the number became another descriptor's between look and fetch
        return self._shake_hands(copy) == C.LM_UFFD_FEATURES and self._acts_here(copy)

    @staticmethod
    def _shake_hands(uffd: int) -> int:
        """Set the features if that was not done yet; returns those in force."""
        err = new_error()
        check(C.lm_uffd_api(uffd, err), err)
        return uffd_fdinfo(os.getpid(), uffd)[1] & 0xFFFF

    def _acts_here(self, uffd: int) -> bool:
        """Whether a page unprotected through *uffd* reads as written in this process. True if there is no protected page to try.

        Harmless wherever it acts: "written" where nothing was is a false alarm of one page.
        """
        for area in read_maps(self.pid):
            for start, _ in self._scanner.scan([area], protect=False, live=True).clean:
                if self._unprotect_raw(uffd, np.array([start], np.uint64), np.array([start + PAGE], np.uint64), live=False):
                    break  # the area went away meanwhile
                page = replace(area, start=start, end=start + PAGE)
                return not self._scanner.scan([page], protect=False, live=False).clean
        return True

    @override
    def arm(self, inside: Inside, areas: Iterable[Area]) -> None:
        """Descriptors that lamina left in a parent of this process are closed here."""
        self._scanner.reopen()
        if self._uffd < 0 and not self.adopt():
            self._refuse_foreign()
            clear_out(self.identity, inside)
            self._inject(inside)
        features = self._shake_hands(self._uffd)
        if features != C.LM_UFFD_FEATURES:
            self.disarm(inside)
            raise TargetError("cannot track", describe(self.pid), f"the kernel gave the features {features:#x} only")
        self.extend(areas, live=False)

    def arm_running(self) -> bool:
        """As `arm`, while the process runs on: only one of its threads is stopped, for less than a millisecond.

        False if that cannot be; `arm` then tells why, or does it: there is something of ours to be closed first, memory that the kernel
        does not watch (only a freeze finds out which), or the calls cannot be made.

        Raises:
            TargetError: the process is gone.
        """
        self._scanner.reopen()
        if self._uffd < 0 and not self.adopt() and not self._inject_running():
            return False
        self.extend(read_maps(self.pid), live=True)
        return not self.refused

    def _inject_running(self) -> bool:
        if why_let_alone(self.identity)[0] or leftovers(self.identity):
            return False
        _, high = self._free_numbers()
        self._claim(high, 0)
        first = ResultOf(0)
        calls: list[GuardedCall] = [("userfaultfd", int(C.LM_UFFD_FLAGS)), ("fcntl", first, F_DUPFD_CLOEXEC, high), ("close", first)]
        made, moved, closed = guarded_calls(self.pid, calls)
        number = moved if moved >= 0 and closed >= 0 else made
        if number < 0:
            return False
        self._own(number)
        return True

    def _refuse_foreign(self) -> None:
        why, fix = why_let_alone(self.identity)
        if why:
            raise TargetError("cannot track", describe(self.pid), why, fix)

    def _inject(self, inside: Inside) -> None:
        low, high = self._free_numbers()
        self._claim(high, 0)
        calls = CallList()
        calls.add("userfaultfd", C.LM_UFFD_FLAGS, expect=low, about="the descriptor that keeps tracking alive")
        if high != low:
            calls.add("fcntl", low, F_DUPFD_CLOEXEC, high, expect=high, about="out of the way of the program's own descriptors")
            calls.add("close", low, expect=0, about="its first number")
        inside.run(calls)
        self._own(high)

    def _own(self, number: int) -> None:
        """The userfaultfd that was just made in the process is *number* there."""
        self._release()
        self._uffd, self.uffd_fd = fetch(self.pid, number), number
        self.uffd_ino, _ = uffd_fdinfo(os.getpid(), self._uffd)
        mark(self._uffd)
        note_made(self.uffd_ino)
        self._claim(number, self.uffd_ino)
        self._shake_hands(self._uffd)

    def _free_numbers(self) -> tuple[int, int]:
        """The number a new descriptor gets in the frozen target, and the one it is to keep: out of the way, in the table as it is."""
        limit, used = soft_limit(self.pid), set(fds_of(self.pid))
        low = next((number for number in range(limit) if number not in used), -1)
        if low < 0:
            raise TargetError("cannot track", describe(self.pid), f"none of its {limit} descriptors is free", "dump it without --track-mem")
        size = min(limit, max(HIGHEST_FD, _table_size(self.pid)))
        return low, next((number for number in range(size - 1, low, -1) if number not in used), low)

    # -- areas -----------------------------------------------------------------------------------------------------------------------

    @override
    def extend(self, areas: Iterable[Area], live: bool = True) -> PageRuns:
        """live=False inside a freeze, where *areas* are exact."""
        if self._uffd < 0:
            raise TargetError("cannot track", describe(self.pid), "tracking is not armed")
        add = self._registration.add_stretches if live else self._registration.add_exactly
        self.refused = tuple(add(self._uffd, areas))
        return PageRuns.of((refusal.area.start, refusal.area.end) for refusal in self.refused)

    # -- scanning --------------------------------------------------------------------------------------------------------------------

    @override
    def protect(self, areas: Iterable[Area], live: bool) -> Report:
        """If it fails, pages may be protected that nobody was told of: leave the state file unsettled."""
        listed = list(areas)
        report = self._scanner.scan(listed, protect=True, live=live)
        self._registration.forget_lost(listed, report.untracked)
        return report

    @override
    def peek(self, areas: Iterable[Area]) -> Report:
        return self._scanner.scan(areas, protect=False, live=True)

    @override
    def scan_shared(self, areas: Iterable[Area], protect: bool, live: bool) -> tuple[PageRuns, PageRuns]:
        listed = list(areas)
        written, untracked = self._scanner.scan_shared(listed, protect, live)
        self._registration.forget_lost(listed, untracked)
        return written, untracked

    @override
    def unprotect(self, runs: PageRuns, live: bool = True) -> None:
        """What is not registered any more reads as changed anyway."""
        if self._uffd >= 0 and runs:
            starts, ends = split_at_areas(runs, read_maps(self.pid))
            self._unprotect_raw(self._uffd, starts, ends, live)

    @staticmethod
    def _unprotect_raw(uffd: int, starts: Any, ends: Any, live: bool) -> int:
        """Returns how many of the ranges failed."""
        status, err = ffi.new("int32_t[]", len(starts)), new_error()
        done = check(C.lm_uffd_unprotect(uffd, _column(starts), _column(ends), len(starts), live, status, err), err)
        return len(starts) - done

    # -- the end ---------------------------------------------------------------------------------------------------------------------

    @override
    def disarm(self, inside: Inside | None) -> None:
        """On large memory call it first without *inside*, then inside a freeze: the freeze is then short.

        Inside a freeze it also closes what the process inherited from a tracked parent, armed itself or not.
        """
        if self._uffd >= 0:
            self._end_registrations(live=inside is None)
        if inside is not None:
            clear_out(self.identity, inside, also=(self.uffd_ino,))
            self._release()
            self.uffd_fd, self.uffd_ino = -1, 0

    def _end_registrations(self, live: bool) -> None:
        areas = read_maps(self.pid)
        if live:
            # Unregistering a whole area holds its memory map as long as there are protected pages in it; letting them go can be sliced.
            report = self.peek(areas)
            self.unprotect(report.clean | report.zero, live=True)
        # Some kernels (6.12) let any userfaultfd end the registration of any other: then closing ours has to do.
        if all(held.whose not in LET_ALONE or held.ino == self.uffd_ino for held in held_uffds(self.identity)):
            self._registration.remove(self._uffd, areas)

    def _release(self) -> None:
        if self._uffd >= 0:
            os.close(self._uffd)
            self._uffd = -1

    @override
    def close(self) -> None:
        self._release()
        self._scanner.close()


def _column(values: Any) -> Any:
    return ffi.from_buffer("uint64_t[]", np.ascontiguousarray(values, dtype=np.uint64))


def soft_limit(pid: int) -> int:
    """RLIMIT_NOFILE from /proc/PID/limits: prlimit(2) of another user's process needs CAP_SYS_RESOURCE."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text()
    except OSError as error:
        raise TargetError("cannot read the limits of", f"process {pid}", os.strerror(error.errno or 0)) from error
    for line in text.splitlines():
        if line.startswith("Max open files"):
            return int(line.removeprefix("Max open files").split()[0])  # never "unlimited": fs.nr_open bounds it
    raise TargetError("cannot read", f"/proc/{pid}/limits", "it has no line for open files")


def _table_size(pid: int) -> int:
    """Slots of its table of descriptors (FDSize, proc_pid_status(5)), which grows in powers of two and never shrinks."""
    return int(read_status(pid).get("FDSize", "0"))
