"""One stopped thread, and calls made inside it (docs/injection.md). Everything here runs on the tracer thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.core.attach.calls import MASK64, RECORD_WORDS, SYSCALL_NUMBERS, CallList
from lamina.core.attach.procfs import PAGE
from lamina.core.errors import LaminaError
from lamina.core.ffi import C, check, ffi, new_error

# The registers of `struct user_regs_struct`, in its order.
REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip",
    "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
# What a batch may end with: signals whose default is to be ignored (signal(7)), so that an untraced target just goes on.
END_SIGNALS = {"SIGURG": 23, "SIGWINCH": 28, "SIGCHLD": 17}
SLICE = 16384
RECORD_BYTES = 8 * RECORD_WORDS
# How long the calls of a batch may take: those of a dump are questions, those of a restore open files and fill memory.
LIMIT_S = 1.0


def choose_end_signal(caught: int, blocked: int, pending: int) -> int:
    """A signal to end batches with, from bit masks (bit 0 = signal 1) over all threads.

    0 if there is none, as in a Go program, whose runtime handles all it can: its batches wait to be interrupted. Best is one that the
    target neither handles nor blocks. One that some thread blocks (glibc blocks all while it starts a thread) will do if none is
    waiting: it is unblocked only while the batch runs.
    """
    for unfit in (caught | blocked, caught | pending):
        for number in END_SIGNALS.values():
            if not unfit >> (number - 1) & 1:
                return number
    return 0


class Tracee:
    """A thread that is traced and stopped; implements `Inside`.

    Attributes:
        pid, tid: its process and its own id.
        thread: the `lm_thread` that C fills; owned by the caller.
        signal: what its batches end with; 0: they wait to be interrupted.
        limit_s: how long the calls of one batch may take.
        page, size: its slice of the scratch range in the target; 0 until there is one.
    """

    def __init__(self, pid: int, thread: Any, signal: int = END_SIGNALS["SIGURG"], page: int = 0, size: int = SLICE) -> None:
        self._pid = pid
        self.thread = thread
        self.signal = signal
        self.limit_s = LIMIT_S
        self.page = page
        self.size = size
        self._pending: list[tuple[CallList, int, NDArray[np.uint64], Any, Any]] = []

    @property
    def pid(self) -> int:
        """Process id."""
        return self._pid

    @property
    def tid(self) -> int:
        """Thread id."""
        return int(self.thread.tid)

    @property
    def spare_page(self) -> int:
        """Address of the last page of its slice, which a list of calls that is not long leaves alone."""
        return self.page + self.size - PAGE

    def run(self, calls: CallList) -> None:
        """Make the calls, in as many batches as they need; see `Inside.run`."""
        for first, count in self._chunks(calls):
            self._start(calls, first, count)
            self._finish()
        calls.check(self.tid)

    def start(self, calls: CallList) -> None:
        """Begin a batch that fits one slice without waiting; `finish` must follow. For many threads at the same time."""
        self._start(calls, 0, len(calls.calls))

    def finish(self) -> None:
        """Wait for the batch begun by `start` and check its results."""
        calls = self._pending[0][0]
        self._finish()
        calls.check(self.tid)

    def step(self, syscall_address: int, name: str, *args: int) -> int:
        """One call at a `syscall` instruction of the target, without a scratch range; only to map and unmap that.

        Returns what the call returned, -errno on failure.
        """
        raw = [SYSCALL_NUMBERS[name], *(arg & MASK64 for arg in args)]
        call = ffi.new("uint64_t[7]", raw + [0] * (7 - len(raw)))
        result = ffi.new("int64_t *")
        err = new_error()
        check(C.lm_step_call(self.thread, syscall_address, call, result, err), err)
        return int(result[0])

    def read(self) -> None:
        """Read registers, mask, extended state, rseq and robust list into `thread` anew."""
        err = new_error()
        check(C.lm_read_thread(self.thread, err), err)

    def write(self) -> None:
        """Write `thread`'s registers, extended state and mask into the tracee."""
        err = new_error()
        check(C.lm_write_thread(self.thread, err), err)

    def registers(self) -> dict[str, int]:
        """`thread.regs` as name → value."""
        return {name: int(getattr(self.thread.regs, name)) for name in REGISTERS}

    def xstate(self) -> bytes:
        """NT_X86_XSTATE: the standard XSAVE layout."""
        return bytes(ffi.buffer(self.thread.xstate, self.thread.xstate_size))

    def queued_signals(self, shared: bool) -> tuple[bytes, ...]:
        """Queued signals, private or of the whole task, as raw siginfo of 128 bytes each, oldest first."""
        room = 64
        while True:
            buffer = ffi.new("uint8_t[]", room * 128)
            err = new_error()
            count = check(C.lm_peek_signals(self.tid, int(shared), buffer, room, err), err)
            if count < room:
                raw = bytes(ffi.buffer(buffer, count * 128))
                return tuple(raw[at : at + 128] for at in range(0, len(raw), 128))
            room *= 4

    def _chunks(self, calls: CallList) -> list[tuple[int, int]]:
        """(first call, how many) of each batch."""
        room = (self.size - C.lm_batch_overhead() - len(calls.blob)) // RECORD_BYTES
        if room <= 0:
            raise LaminaError("cannot make calls in", f"thread {self.tid}", f"{len(calls.blob)} bytes of data exceed the scratch range")
        return [(at, min(room, len(calls.calls) - at)) for at in range(0, len(calls.calls), room)]

    def _start(self, calls: CallList, first: int, count: int) -> None:
        data_at = self.page + int(C.lm_batch_overhead()) + count * RECORD_BYTES
        for at, to in calls.pointers:
            calls.blob[at.offset : at.offset + 8] = (data_at + to.offset).to_bytes(8, "little")
        records = calls.records(first, count, data_at)
        raw = ffi.cast("lm_call *", ffi.from_buffer(records))
        data = ffi.from_buffer(calls.blob) if calls.blob else ffi.NULL
        err = new_error()
        check(
            C.lm_batch_start(self.thread, self.pid, self.signal, self.page, self.size, raw, count, data, len(calls.blob), err),
            err,
        )
        self._pending.append((calls, first, records, raw, data))

    def _finish(self) -> None:
        calls, first, records, raw, data = self._pending.pop()
        count = len(records) // RECORD_WORDS
        err = new_error()
        try:
            limit_ns = int(self.limit_s * 1e9)
            check(C.lm_batch_wait(self.thread, self.signal, raw, count, data, len(calls.blob), limit_ns, err), err)
        finally:
            if data != ffi.NULL:
                ffi.release(data)
        results = records[RECORD_WORDS - 1 :: RECORD_WORDS].view(np.int64).tolist()
        for call, result in zip(calls.calls[first : first + count], results, strict=True):
            call.result = result


def run_together(tracees: Sequence[Tracee], lists: Mapping[int, CallList]) -> None:
    """Run one call list per thread id in all *tracees* at the same time; every list must fit one slice.

    Raises:
        LaminaError: of the first that failed, after all have ended.
    """
    started: list[Tracee] = []
    first: Exception | None = None
    for tracee in tracees:
        try:
            tracee.start(lists[tracee.tid])
            started.append(tracee)
        except Exception as error:
            first = error
            break
    for tracee in started:
        try:
            tracee.finish()
        except Exception as error:
            first = first or error
    if first:
        raise first
