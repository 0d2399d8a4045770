"""What arrives at a page server, as pages files and maps of a layer. The frames themselves are read by C (native/cdef/pagerecv.h)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, Addresses, PageRuns
from lamina.core.errors import ImageError, NativeError, TransferError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image import owners
from lamina.core.image.draft import LayerDraft
from lamina.core.image.format import PageFlag
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.pagemap import PageMap
from lamina.core.transfer import wire
from lamina.core.transfer.connection import Connection


@dataclass(frozen=True)
class Runs:
    """Runs of one object: addresses, places in the file, flags; ascending and disjoint."""

    starts: Addresses
    ends: Addresses
    offsets: Addresses
    flags: NDArray[np.uint32]

    @property
    def pages(self) -> PageRuns:
        """Which pages they are."""
        return PageRuns.from_arrays(self.starts, self.ends)

    def within(self, wanted: PageRuns) -> "Runs":
        """What of them lies in *wanted*, cut where that begins and ends."""
        first = np.searchsorted(wanted.ends, self.starts, side="right")
        counts = np.maximum(np.searchsorted(wanted.starts, self.ends, side="left") - first, 0)
        which = np.repeat(np.arange(self.starts.size), counts)
        index = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        starts = np.maximum(self.starts[which], wanted.starts[index])
        ends = np.minimum(self.ends[which], wanted.ends[index])
        return Runs(starts, ends, self.offsets[which] + (starts - self.starts[which]), self.flags[which])


class Came(Enum):
    """What may come besides a frame."""

    STEP = "some MiB of pages"
    END = "the end of the connection"


@dataclass
class _Object:
    which: Object
    pages_id: int
    fd: int
    parent: PageRuns  # kept for C, which does not copy it


class Incoming:
    """The layer that is being received.

    Attributes:
        objects: what was opened so far.
    """

    def __init__(self, connection: Connection, draft: LayerDraft) -> None:
        self._connection = connection
        self._draft = draft
        self._chain = draft.parent.chain() if draft.parent else ()
        patience_ms = int(connection.patience_s * 1000)
        self._receiver: Any = ffi.gc(C.lm_receiver_new(connection.fileno(), patience_ms), C.lm_receiver_free)
        self.objects: dict[int, _Object] = {}

    @property
    def form(self) -> int:
        """Bytes of a frame; 0 before the first."""
        return int(C.lm_receiver_form(self._receiver))

    @property
    def pages_files(self) -> tuple[str, ...]:
        """The names of the pages files."""
        return tuple(f"pages-{it.pages_id}.img" for it in self.objects.values())

    @property
    def bytes(self) -> int:
        """Bytes of pages so far."""
        return int(C.lm_receiver_bytes(self._receiver))

    def any_order(self) -> None:
        """Let pages come in any order, and again."""
        C.lm_receiver_any_order(self._receiver)

    def parent_has(self, which: Object) -> bool:
        """Whether the parent knows *which*."""
        return bool(self._chain) and which in self._chain[0].objects

    def open(self, dst_id: int) -> bool:
        """A new object; returns whether the parent knows it.

        Raises:
            TransferError: it names nothing, or was opened before.
            ImageError: its file cannot be made.
        """
        which = wire.object_of(dst_id)
        if any(it.which == which for it in self.objects.values()):
            raise TransferError("cannot receive", why=f"a wrong frame came: {_named(which)} is opened a second time")
        pages_id = wire.PAGES_ID + len(self.objects)
        parent = owners.covered(self._chain, which) if self.parent_has(which) else PageRuns.empty()
        found = self.objects[dst_id] = _Object(which, pages_id, self._draft.open_pages(pages_id), parent)
        columns = (ffi.from_buffer("uint64_t[]", np.ascontiguousarray(column)) for column in (parent.starts, parent.ends))
        err = new_error()
        with self._as_errors():
            check(C.lm_receiver_object(self._receiver, dst_id, found.fd, *columns, len(parent), err), err)
        return self.parent_has(which)

    def next(self) -> wire.Frame | Came:
        """Go on until a frame comes that carries no run of pages, the connection ends, or it is time to look up.

        Raises:
            TransferError: something came that may not, or nothing.
            ImageError: the pages cannot be written.
        """
        frame, err = ffi.new("lm_frame *"), new_error()
        with self._as_errors():
            what = check(C.lm_receiver_next(self._receiver, frame, err), err)
        if what == C.LM_RECEIVED_FRAME:
            return wire.Frame(frame.cmd, frame.pages, frame.vaddr, frame.dst_id)
        return Came.STEP if what == C.LM_RECEIVED_STEP else Came.END

    def finish(self) -> int:
        """Everything came: put the pages of each object in order and write its map. Returns the pages of all.

        Raises:
            TransferError: what came contradicts itself.
            ImageError: it cannot be written.
        """
        return sum(self._finish(dst_id, found) for dst_id, found in self.objects.items())

    def _finish(self, dst_id: int, found: _Object) -> int:
        present = self._runs(dst_id, C.LM_RUNS_PRESENT)
        forgotten = self._runs(dst_id, C.LM_RUNS_FORGOTTEN)
        inherited = self._runs(dst_id, C.LM_RUNS_INHERITED).pages
        if forgotten.starts.size:
            present = present.within(present.pages - forgotten.pages)
        if present.pages & inherited:
            raise TransferError("cannot receive", why=f"a wrong frame came: pages of {_named(found.which)} are sent and inherited, both")
        self._lay_out(found, present)
        self._draft.put_pagemap(found.which, _map_of(found.pages_id, present, inherited))
        return present.pages.pages

    def _lay_out(self, found: _Object, present: Runs) -> None:
        sizes = present.ends - present.starts
        total = int(sizes.sum(dtype=np.uint64))
        if os.fstat(found.fd).st_size == total and np.array_equal(present.offsets, np.cumsum(sizes, dtype=np.uint64) - sizes):
            return
        before, err = found.fd, new_error()
        found.fd = self._draft.replace_pages(found.pages_id)
        try:
            columns = (ffi.from_buffer("uint64_t[]", np.ascontiguousarray(column)) for column in (present.offsets, sizes))
            with self._as_errors():
                check(C.lm_receiver_rewrite(before, found.fd, *columns, sizes.size, err), err)
        finally:
            os.close(before)

    def _runs(self, dst_id: int, which: int) -> Runs:
        err = new_error()
        with self._as_errors():
            count = check(C.lm_receiver_count(self._receiver, dst_id, which, err), err)
            starts, ends, offsets = (np.empty(count, dtype=np.uint64) for _ in range(3))
            flags = np.empty(count, dtype=np.uint32)
            if count:
                columns = (ffi.from_buffer("uint64_t[]", column) for column in (starts, ends, offsets))
                check(C.lm_receiver_runs(self._receiver, dst_id, which, *columns, ffi.from_buffer("uint32_t[]", flags), err), err)
        return Runs(starts, ends, offsets, flags)

    @contextmanager
    def _as_errors(self) -> Iterator[None]:
        try:
            yield
        except NativeError as error:
            if error.where == "recv" and error.errnum:
                raise self._connection.failed(error.errnum) from error
            if error.where == "recv":
                raise TransferError("lost", f"the connection to {self._connection.peer}", error.detail) from error
            if error.where == "frame":
                raise TransferError("cannot receive", f"from {self._connection.peer}", f"a wrong frame came: {error.detail}") from error
            if error.where == "parent":
                above = self._draft.parent.name if self._draft.parent else "none"
                why = f"{error.detail} ({above})"
                raise TransferError("cannot receive", f"from {self._connection.peer}", why, "send a full dump") from error
            if error.errnum:
                raise cannot_write(self._draft.path, error.errnum) from error
            raise ImageError("cannot write layer", str(self._draft.path), error.detail) from error


def _named(which: Object) -> str:
    return f"task {which}" if isinstance(which, int) else f"shared memory {which.removeprefix('shmem-')}"


def _map_of(pages_id: int, present: Runs, inherited: PageRuns) -> PageMap:
    """Flags of runs with data are kept: LAZY says that a page may be fetched when it is first needed."""
    starts = np.concatenate((present.starts, inherited.starts))
    ends = np.concatenate((present.ends, inherited.ends))
    flags = np.concatenate((present.flags, np.full(len(inherited), PageFlag.PARENT, dtype=np.uint32)))
    order = np.argsort(starts, kind="stable")
    starts, ends, flags = starts[order], ends[order], flags[order]
    if starts.size:
        heads = np.empty(starts.size, dtype=np.bool_)
        heads[0] = True
        np.logical_or(starts[1:] != ends[:-1], flags[1:] != flags[:-1], out=heads[1:])
        starts, ends, flags = starts[heads], ends[np.append(heads[1:], True)], flags[heads]
    return PageMap(pages_id, starts, (ends - starts) // np.uint64(PAGE), flags)


def layer_token(layer: Layer) -> int:
    """What stands for *layer* on the wire; 0 if it is not known which it is."""
    sidecar = layer.sidecar
    return wire.token(sidecar.layer_id) if sidecar else 0
