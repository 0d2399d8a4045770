"""Calls in a running process, made by a guardian of their own (docs/injection.md).

Slower than a batch, 0.2 ms a call, and nothing but one thread stands still meanwhile. But a guardian outlives lamina: what it began comes
to its end with the program's seccomp filters suspended. A batch that is left alone goes on under them, and they may end the program.
"""

import errno
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import MASK64, SYSCALL_NUMBERS, CallList, DataRef
from lamina.core.attach.procfs import Area, describe, read_maps, read_stat, read_status, threads_of
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error

SYSCALL_INSTRUCTION = b"\x0f\x05"
# How often another thread is chosen, as threads may come and go; the last time it is the first one.
_TRIES: Final = 5
# Where it shows that a thread ended just when it was to be stopped.
_ENDED: Final = frozenset({"ptrace(SEIZE)", "waitpid", "ptrace(INTERRUPT)"})
# What to do about a thread that does not stop.
LATE = "it runs on; try again later"


@cache
def _own_vdso_syscall() -> int:
    """Offset of a `syscall` instruction in the vdso, which is the same bytes in every process of this kernel."""
    vdso = next(area for area in read_maps(os.getpid()) if area.path == "[vdso]")
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(vdso.start)
        return memory.read(vdso.size).index(SYSCALL_INSTRUCTION)


def find_syscall(pid: int, areas: list[Area]) -> int:
    """Address of a `syscall` instruction in the memory of *pid*: in its vdso, else in any code it has.

    Raises:
        TargetError: there is none, or its memory may not be read.
    """
    try:
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
                    found = memory.read(area.size).find(SYSCALL_INSTRUCTION)
                    if found >= 0:
                        return area.start + found
    except OSError as error:
        raise TargetError("cannot read the memory of", describe(pid), os.strerror(error.errno or 0), "run lamina as root") from error
    raise TargetError("cannot make calls in", describe(pid), "no `syscall` instruction in its memory")


@dataclass(frozen=True)
class ResultOf:
    """As the first argument of a guarded call: what an earlier one returned."""

    number: int


GuardedCall = tuple[str | int | ResultOf, ...]
"""A name, and arguments."""


def guarded_calls(pid: int, calls: Sequence[GuardedCall], any_thread: bool = False) -> list[int]:
    """Make a few *calls*, each (name, arguments), in the running process *pid* by a guardian: one thread is stopped for about 0.1 ms each.

    Returns what they returned, -errno on failure. After one that failed the rest is not made, and says -ECANCELED.

    Args:
        any_thread: where no call can be made in the thread that is chosen, make them in another one. For what takes something away: who
            wants to put something in had better be refused.

    Raises:
        TargetError: it cannot be traced, or no call can be made in it.
    """
    words, first = ffi.new("uint64_t[]", 7 * len(calls)), ffi.new("int8_t[]", [-1] * len(calls))
    for n, (name, *args) in enumerate(calls):
        words[7 * n] = SYSCALL_NUMBERS[str(name)]
        for k, arg in enumerate(args):
            if isinstance(arg, ResultOf):
                first[n] = arg.number
            elif isinstance(arg, int):
                words[7 * n + 1 + k] = arg & MASK64
    results, err = ffi.new("int64_t[]", len(calls)), new_error()
    at = find_syscall(pid, read_maps(pid))
    ended, unfit = 0, set[int]()
    while True:
        tid = _able_thread(pid, unfit) if ended < _TRIES - 1 else pid
        try:
            check(C.lm_guarded_calls(tid, at, words, first, len(calls), results, err), err)
            break
        except NativeError as error:
            if tid != pid and error.where in _ENDED:
                ended += 1  # just now
            elif any_thread and error.where == "unfit" and tid not in unfit:
                unfit.add(tid)
            else:
                raise no_calls(pid, error) from error
    return [int(result) for result in results]


class Guarded:
    """A running process as a place to make calls in that take no data and take something away; implements `Inside`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def pid(self) -> int:
        """Process id."""
        return self._pid

    @property
    def tid(self) -> int:
        """The thread that is named in errors; any that can be stopped makes the calls."""
        return self._pid

    def run(self, calls: CallList) -> None:
        """See `Inside.run`.

        Raises:
            LaminaError: a result is not as expected, or no call can be made.
        """
        for call in calls.calls:
            words: GuardedCall = (call.name, *(arg for arg in call.args if not isinstance(arg, DataRef)))
            (call.result,) = guarded_calls(self._pid, [words], any_thread=True)
        calls.check(self._pid)


def is_filtered(pid: int) -> bool:
    """Whether the process, or a thread of it, runs under seccomp: no batch then."""
    return any(read_status(pid, tid).get("Seccomp", "0") != "0" for tid in threads_of(pid))


def no_calls(pid: int, error: NativeError) -> TargetError:
    """What to tell of a process in which no call can be made, or none came to its end."""
    why = f"{error.detail}: not supported yet" if error.where == "unfit" else error.detail or str(error)
    return TargetError("cannot make calls in", describe(pid), why, LATE if error.errnum == errno.ETIMEDOUT else "")


# Calls that never continue after a stop but begin anew, with their whole timeout, and which argument says that there is none. Of a socket's
# calls nobody can tell from outside.
_BEGIN_ANEW: Final = {
    "epoll_wait": (3, 0xFFFF_FFFF), "epoll_pwait": (3, 0xFFFF_FFFF), "rt_sigtimedwait": (2, 0), "semtimedop": (3, 0),
    "io_getevents": (4, 0),
    "recvfrom": None, "recvmsg": None, "recvmmsg": None, "sendto": None, "sendmsg": None, "accept": None, "accept4": None,
}  # fmt: skip
_TIMED: Final = {SYSCALL_NUMBERS[name]: endless for name, endless in _BEGIN_ANEW.items()} | {441: (3, 0)}  # epoll_pwait2
# Of more threads, the first that many are looked at.
_LOOKED_AT: Final = 64


def loses_its_wait(pid: int, tid: int) -> bool:
    """Whether a thread sleeps in a call that would begin anew, with all of a timeout that ends, if it were stopped now."""
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except OSError:
        return False
    if not words[0].isdigit() or int(words[0]) not in _TIMED:
        return False
    endless = _TIMED[int(words[0])]
    return endless is None or int(words[1 + endless[0]], 16) & 0xFFFF_FFFF != endless[1]


def _able_thread(pid: int, unfit: Collection[int]) -> int:
    """A thread, none of *unfit*, that can be stopped now (no uninterruptible sleep): the first that loses nothing by it, else the first."""
    able = []
    for tid in [tid for tid in threads_of(pid) if tid not in unfit][:_LOOKED_AT]:
        with suppress(TargetError):  # it ended
            if read_stat(pid, tid).state not in "DZX":
                if not loses_its_wait(pid, tid):
                    return tid
                able.append(tid)
    return able[0] if able else pid
