"""Calls to be made inside a target, as values: what a batch is built from (see docs/injection.md).

A batch has no data flow of its own: every argument is known when it is built (descriptors are predicted, addresses are asked for) and the
results are compared afterwards. Data that a call reads or writes lies behind the calls in the same slice; `CallList.data()` hands out its
address and `CallList.output()` reads it back after the run.
"""

import errno
import os
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

# Not from its submodule: threads that begin a package's circle of imports at two ends find a deadlock.
from ptrace.syscall import SYSCALL_NAMES

from lamina.core.errors import LaminaError

# python-ptrace's table stops at Linux 5.8, and its numbers from 512 on are the x32 ABI's twins.
SYSCALL_NUMBERS: dict[str, int] = {name: number for number, name in SYSCALL_NAMES.items() if number < 512} | {
    "pidfd_getfd": 438,
    "process_madvise": 440,
}


@dataclass(frozen=True)
class DataRef:
    """A place in a batch's data: turned into an address when the batch is laid out. `DataRef + n` points n bytes further."""

    offset: int

    def __add__(self, more: int) -> "DataRef":
        return DataRef(self.offset + more)


Argument = int | DataRef
MASK64: Final = (1 << 64) - 1
# Words of 8 bytes of an `lm_call`: number, six arguments, result.
RECORD_WORDS: Final = 8
_ZEROS: Final = [0] * RECORD_WORDS


@dataclass
class Call:
    """One system call: `name` as in the man pages, up to six arguments.

    Attributes:
        expect: the result it must have, or None for "any result that is not an error", or `ANY`.
        about: what the call is for, for the error message, as in "listen on fd 6".
        result: filled by the run; -errno on failure.
    """

    name: str
    args: tuple[Argument, ...]
    expect: int | None = None
    about: str = ""
    any_result: bool = False
    result: int = 0


@dataclass
class CallList:
    """Calls and their data, built in order, run by `Inside.run` in as many batches as they need."""

    calls: list[Call] = field(default_factory=list)
    blob: bytearray = field(default_factory=bytearray)
    pointers: list[tuple[DataRef, DataRef]] = field(default_factory=list)
    _words: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    _relative: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def encode(self) -> None:
        """Turn the calls into numbers now, as far as that can be done before the batch has a place: not in the freeze, that is."""
        done = len(self._words) // RECORD_WORDS
        if done == len(self.calls):
            return
        words: list[int] = []
        relative: list[int] = []
        for call in self.calls[done:]:
            at = len(self._words) + len(words) + 1
            relative += [at + n for n, arg in enumerate(call.args) if isinstance(arg, DataRef)]
            args = [arg.offset if isinstance(arg, DataRef) else arg & MASK64 for arg in call.args]
            words += [SYSCALL_NUMBERS[call.name], *args, *_ZEROS[len(args) + 1 :]]
        self._words = np.concatenate([self._words, np.array(words, dtype=np.uint64)])
        self._relative = np.concatenate([self._relative, np.array(relative, dtype=np.intp)])

    def records(self, first: int, count: int, data_at: int) -> NDArray[np.uint64]:
        """`lm_call` records of *count* calls from number *first* on, 8 words each, the result last. *data_at*: address of their data."""
        self.encode()
        begin, end = first * RECORD_WORDS, (first + count) * RECORD_WORDS
        words = self._words[begin:end].copy()
        relative = self._relative[(self._relative >= begin) & (self._relative < end)] - begin
        words[relative] += np.uint64(data_at)
        return words

    def add(self, name: str, *args: Argument, expect: int | None = None, about: str = "", any_result: bool = False) -> Call:
        """Append a call; see `Call`. Negative arguments are taken as two's complement. Returns it, so that its result can be read."""
        call = Call(name, args, expect, about, any_result)
        self.calls.append(call)
        return call

    def data(self, content: bytes, align: int = 8) -> DataRef:
        """Put *content* beside the calls and return where: for a structure or path that a call reads."""
        self.blob.extend(bytes(-len(self.blob) % align))
        ref = DataRef(len(self.blob))
        self.blob.extend(content)
        return ref

    def room(self, size: int, align: int = 8) -> DataRef:
        """Reserve *size* zero bytes for a call to write into; read them with `output` after the run."""
        return self.data(bytes(size), align)

    def path(self, text: str | bytes) -> DataRef:
        """A NUL-terminated path."""
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        return self.data(raw + b"\0", align=1)

    def pointer(self, at: DataRef, to: DataRef) -> None:
        """Before the run, put the address of *to* into the 8 bytes at *at*: for structures that point into the same data."""
        self.pointers.append((at, to))

    def output(self, ref: DataRef, size: int) -> bytes:
        """What lies at *ref* after the run."""
        return bytes(self.blob[ref.offset : ref.offset + size])

    def check(self, tid: int) -> None:
        """See that every result is as expected, after the run in thread *tid*.

        Raises:
            LaminaError: of the first that is not, naming the call and `about`.
        """
        for call in self.calls:
            if call.any_result:
                continue
            failed = -4095 <= call.result < 0
            if failed or (call.expect is not None and call.result != call.expect):
                reason = (
                    f"{os.strerror(-call.result)} ({errno.errorcode.get(-call.result, call.result)})"
                    if failed
                    else f"it answered {call.result:#x}, not {call.expect:#x}"
                )
                raise LaminaError("cannot", call.about or call.name, f"{call.name} in thread {tid}: {reason}")


class Inside(Protocol):
    """Somewhere calls can be made: a thread of a frozen target, or a process being rebuilt."""

    @property
    def pid(self) -> int:
        """The process."""
        ...

    @property
    def tid(self) -> int:
        """The thread that makes the calls."""
        ...

    def run(self, calls: CallList) -> None:
        """Make the calls; results and data come back in *calls*.

        Raises:
            LaminaError: a call's result was an error or not what `expect` says, naming the call and `about`.
        """
        ...
