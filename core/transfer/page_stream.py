"""Runs of pages on their way to a page server: columns for C, which frames and sends them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.core.attach.procfs import describe
from lamina.core.dirty.copy import WarmBuffer
from lamina.core.dirty.regions import new_array, runs_of
from lamina.core.dirty.runs import Addresses, PageRuns
from lamina.core.dump.memory import Moved, Piece
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.layer import Object
from lamina.core.transfer import wire
from lamina.core.transfer.conversation import Conversation

_STEP = 16 << 20
_BUFFER = 256 << 10
_KINDS = np.uint8


@dataclass(frozen=True)
class Columns:
    """Runs on their way: addresses, where they lie (in a file or memory), and what they come from (C.LM_SEND_*)."""

    starts: Addresses
    ends: Addresses
    offsets: Addresses
    kinds: NDArray[np.uint8]

    @classmethod
    def of(cls, runs: PageRuns, kind: int) -> "Columns":
        """Runs of one kind that lie nowhere but in the target."""
        return cls(runs.starts, runs.ends, np.zeros(len(runs), dtype=np.uint64), np.full(len(runs), kind, dtype=_KINDS))

    @classmethod
    def of_pieces(cls, pieces: list[Piece]) -> "Columns":
        """Pieces of a spool and of the residue."""
        table = np.array([(it.address, it.address + it.size, it.offset) for it in pieces], dtype=np.uint64).reshape(-1, 3)
        kinds = np.array([C.LM_SEND_MEMORY if it.in_memory else C.LM_SEND_FILE for it in pieces], dtype=_KINDS)
        return cls(table[:, 0], table[:, 1], table[:, 2], kinds)

    def merged(self, other: "Columns") -> "Columns":
        """Both, by address."""
        columns = [np.concatenate(pair) for pair in zip(self._all, other._all, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Columns(*(column[order] for column in columns))

    @property
    def _all(self) -> tuple[NDArray[Any], ...]:
        return self.starts, self.ends, self.offsets, self.kinds

    def steps(self, size: int) -> Iterator["Columns"]:
        """The same in parts of about *size* bytes; a long run is cut."""
        sizes = self.ends - self.starts
        parts = np.maximum((sizes + np.uint64(size - 1)) // np.uint64(size), 1).astype(np.int64)
        if (parts > 1).any():
            which = np.repeat(np.arange(parts.size), parts)
            number = np.arange(int(parts.sum())) - np.repeat(np.cumsum(parts) - parts, parts)
            skip = number.astype(np.uint64) * np.uint64(size)
            starts = self.starts[which] + skip
            cut = Columns(starts, np.minimum(starts + np.uint64(size), self.ends[which]), self.offsets[which] + skip, self.kinds[which])
        else:
            cut = self
        total = np.cumsum(cut.ends - cut.starts, dtype=np.uint64)
        at = 0
        while at < total.size:
            before = int(total[at - 1]) if at else 0
            end = max(int(np.searchsorted(total, np.uint64(before + size), side="right")), at + 1)
            yield Columns(*(column[at:end] for column in cut._all))
            at = end


class Stream:
    """Sends runs of pages through C."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self._buffer = WarmBuffer(_BUFFER)

    def send(self, which: Object, columns: Columns, moved: Moved, pid: int = 0, fd: int = -1, memory: WarmBuffer | None = None) -> PageRuns:
        """*columns* of the object *which*, from the process, file or memory. Returns pages of the process that could not be read.

        Raises:
            TransferError: the receiver went away, fell silent or refused.
            TargetError: the process is gone.
        """
        lost = PageRuns.empty()
        mem = _memory_of(pid) if pid else -1
        try:
            for part in columns.steps(_STEP):
                self.talk.heard()
                lost |= self._send(which, part, pid, mem, fd, memory)
                data = part.kinds <= C.LM_SEND_MEMORY
                moved(int((part.ends[data] - part.starts[data]).sum(dtype=np.uint64)))
        finally:
            if mem >= 0:
                os.close(mem)
        return lost

    def _send(self, which: Object, part: Columns, pid: int, mem: int, fd: int, memory: WarmBuffer | None) -> PageRuns:
        source = ffi.new("lm_send_source *", {"pid": pid, "mem": mem, "fd": fd, "buffer": self._buffer.pointer, "size": self._buffer.size})
        source.base = memory.pointer if memory else ffi.NULL
        lost, err = new_array(), new_error()
        columns = [ffi.from_buffer("uint64_t[]", np.ascontiguousarray(it)) for it in (part.starts, part.ends, part.offsets)]
        kinds = ffi.from_buffer("uint8_t[]", np.ascontiguousarray(part.kinds))
        connection = self.talk.connection
        try:
            check(
                C.lm_pagesend(
                    connection.fileno(), self.talk.server.wire, wire.object_id(which), *columns, kinds, part.starts.size, source, lost, err
                ),
                err,
            )
        except NativeError as error:
            if error.where == "sendmsg":
                raise self.talk.last_words() or connection.failed(error.errnum) from error
            if error.where == "process_vm_readv":
                raise TargetError("cannot copy memory of", describe(pid), error.detail or error.reason) from error
            raise
        return runs_of(lost)


def _memory_of(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
