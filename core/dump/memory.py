"""Pages of one task on their way into its pages file.

A pages file holds the layer's pages in address order without gaps, but pages are copied in the order in which they were found: first
live, while the target runs and rewrites some of them, then the residue inside the freeze. The live copy goes straight into the (still
temporary) pages file. The residue is small and goes to warm memory, because a write to disk inside the freeze would be paid by the target.
After the thaw `finish` lays the file out: when the set of pages did not change, which is the usual case for a program that works in the
memory it has, only the rewritten pages are patched in place; otherwise the file is written anew in order, by copy_file_range.

The alternative, a pre-dump directory inside the layer, writes nothing twice but gives every full layer a second pages file and a `parent`
that is not what the user typed; patching was measured to be enough (ARCHITECTURE.md, "Why").
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lamina.core.attach.procfs import PAGE, describe
from lamina.core.dirty.copy import WarmBuffer, copy_runs, copy_runs_to_fd
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError, TargetError

Moved = Callable[[int], None]
"""Told the bytes moved since it was last called."""
STEP_BYTES = 1 << 20


@dataclass(frozen=True)
class Space:
    """Whose pages they are.

    Attributes:
        pid: the process whose memory they are read from.
        which: what the layer calls them: a task's pid, or "shmem-ID".
        base: what is taken off an address to get the one in the layer; of a shared object where it is mapped in *pid*.
    """

    pid: int
    which: int | str
    base: int = 0


@dataclass(frozen=True)
class Segment:
    """Pages that lie back to back: *runs* in order, from *offset* bytes of the spool or of the residue buffer."""

    runs: PageRuns
    offset: int


@dataclass(frozen=True)
class Piece:
    """A stretch of the final file: *size* bytes for *address*, found at *offset* of the spool or, if *in_memory*, of the residue."""

    address: int
    size: int
    offset: int
    in_memory: bool


class WarmMemory:
    """Buffers touched before the freeze, shared by all tasks of a dump, because the first touch of fresh memory costs more than the copy.

    Attributes:
        residue: what the freeze copies to; handed out by `take`.
        step, through: for copies that go through memory to a file.
    """

    def __init__(self, residue_bytes: int = 0) -> None:
        self.residue = WarmBuffer(residue_bytes)
        self.step = WarmBuffer(STEP_BYTES)
        self.through = WarmBuffer()
        self._taken = 0

    def reserve(self, residue_bytes: int) -> None:
        """Have that much ready for the freeze; before anything was taken."""
        self.residue = WarmBuffer(residue_bytes)

    def take(self, size: int) -> int | None:
        """Offset of *size* free bytes in `residue`, or None if there is no room."""
        if self._taken + size > self.residue.size:
            return None
        self._taken += size
        return self._taken - size


class PageStore:
    """The pages of one task, from the first live round to the finished pages file.

    Attributes:
        pid: the task.
        spooled: pages in the spool; some may be out of date once `add_residue` has newer ones.
        lost: pages whose last copy could not be read, so that zeros stand for them: gone from the target meanwhile.
    """

    def __init__(self, pid: int, open_file: Callable[[], int], warm: WarmMemory) -> None:
        """*open_file* gives an empty file to read and write, a second time one in the place of the first; they stay the opener's, who
        closes the last. *warm* is shared by the tasks of one dump.
        """
        self.pid = pid
        self._open_file = open_file
        self._fd = open_file()
        self._warm = warm
        self._segments: list[Segment] = []
        self._in_memory: list[Segment] = []
        self._end = 0
        self.spooled = PageRuns.empty()
        self.lost = PageRuns.empty()

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """Copy *runs* from the target to the spool: over the older copy of a page, else behind the others. *moved(bytes)* as it goes."""
        again = runs & self.spooled
        for segment in self._segments if again else ():
            self._overwrite(segment, again & segment.runs, moved)
        fresh = runs - again
        if fresh:
            self._append(fresh, moved)

    def _overwrite(self, segment: Segment, part: PageRuns, moved: Moved) -> None:
        slots = iter(slots_of(segment, part))
        for piece in part.split(self._warm.step.size // PAGE) if part else ():
            self.lost = (self.lost - piece) | copy_runs(self.pid, piece, self._warm.step)
            view = self._warm.step.view
            for start, end in piece:
                address, size, offset = next(slots)
                # `split` may cut a run in two: the second half goes on where the first ended.
                _write(self._fd, view[: end - start], offset + start - address)
                view = view[end - start :]
                if end < address + size:
                    slots = itertools.chain([(address, size, offset)], slots)
            moved(piece.bytes)

    def _append(self, runs: PageRuns, moved: Moved) -> None:
        before = 0

        def count(pages: int) -> None:
            nonlocal before
            moved((pages - before) * PAGE)
            before = pages

        self.lost |= copy_runs_to_fd(self.pid, runs, self._fd, self._end, count, buffer=self._warm.through)
        self._segments.append(Segment(runs, self._end))
        self._end += runs.bytes
        self.spooled |= runs

    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        """Inside the freeze: copy *runs* to warm memory if there is room, else to the spool."""
        at = self._warm.take(runs.bytes)
        if at is None:
            self.add(runs, moved)
            return
        self.lost = (self.lost - runs) | copy_runs(self.pid, runs, self._warm.residue, at)
        self._in_memory.append(Segment(runs, at))
        moved(runs.bytes)

    def finish(self, wanted: PageRuns, moved: Moved) -> int:
        """Lay out *wanted* in address order; returns the descriptor of the finished file, positioned nowhere in particular.

        Raises:
            TargetError: a wanted page could not be read.
            ImageError: a wanted page was never copied (an error of ours, found before it becomes a wrong layer).
        """
        pieces = self.pieces(wanted)
        if wanted & self.lost:
            raise TargetError("cannot copy memory of", describe(self.pid), f"{(wanted & self.lost).pages} pages cannot be read")
        have = sum(piece.size for piece in pieces)
        if have != wanted.bytes:
            raise ImageError("cannot lay out", f"the pages of task {self.pid}", f"{wanted.bytes - have} bytes were not copied")
        target = self._fd
        if not self._in_place(pieces):
            target = self._open_file()
        at = 0
        for piece in pieces:
            if piece.in_memory:
                _write(target, self._warm.residue.view[piece.offset : piece.offset + piece.size], at)
            elif target != self._fd:
                _copy_range(self._fd, piece.offset, target, at, piece.size)
            at += piece.size
            moved(piece.size)
        os.ftruncate(target, at)
        if target != self._fd:
            os.close(self._fd)
            self._fd = target
        return target

    def pieces(self, wanted: PageRuns) -> list[Piece]:
        """Where the last copy of each page of *wanted* is, in address order; pages that were never copied are left out."""
        pieces: list[Piece] = []
        newer = PageRuns.empty()
        for segments, in_memory in ((self._in_memory, True), (self._segments, False)):
            for segment in segments:
                part = (segment.runs & wanted) - newer
                pieces += [Piece(address, size, offset, in_memory) for address, size, offset in slots_of(segment, part)]
            if in_memory:
                for segment in segments:
                    newer |= segment.runs
        pieces.sort(key=lambda piece: piece.address)
        return pieces

    def read(self, piece: Piece, size: int, at: int) -> bytes:
        """*size* bytes from byte *at* of *piece*; fewer if the file is shorter."""
        if piece.in_memory:
            return bytes(self._warm.residue.view[piece.offset + at : piece.offset + at + size])
        return os.pread(self._fd, size, piece.offset + at)

    def _in_place(self, pieces: list[Piece]) -> bool:
        """Whether every spooled piece already lies where it belongs, and no patch would overwrite one that is still needed elsewhere."""
        at = 0
        for piece in pieces:
            if not piece.in_memory and piece.offset != at:
                return False
            at += piece.size
        return True


def slots_of(segment: Segment, part: PageRuns) -> list[tuple[int, int, int]]:
    """(address, bytes, offset) of each run of *part*, a subset of the segment's runs."""
    if not part:
        return []
    index = np.searchsorted(segment.runs.starts, part.starts, side="right") - 1
    inside = index >= 0
    index = np.where(inside, index, 0)
    inside &= segment.runs.ends[index] >= part.ends
    before = segment.runs.offsets[index].astype(np.int64)
    offsets = segment.offset + before + (part.starts - segment.runs.starts[index]).astype(np.int64)
    sizes = part.sizes
    return [(int(a), int(s), int(o)) for a, s, o in zip(part.starts[inside], sizes[inside], offsets[inside], strict=True)]


def _write(fd: int, view: memoryview, at: int) -> None:
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def _copy_range(source: int, offset: int, target: int, at: int, size: int) -> None:
    while size:
        done = os.copy_file_range(source, target, size, offset, at)
        if not done:
            raise ImageError("cannot lay out", "a pages file", "the spool is shorter than what was written to it")
        size, offset, at = size - done, offset + done, at + done
