"""An ELF core file of one task of a layer: what gdb opens as if the program had dumped core at that moment (core(5)).

As in the kernel's own core files, pages that a file has and nobody wrote are left out, with a segment that says so: gdb takes them from the
file, checked by build id. What is zero takes no room on disk.
"""

import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, LaminaError
from lamina.core.events import CancelToken, Listener, Notice, Progress, ignore
from lamina.core.image.layer import Layer
from lamina.core.inspect.areas import KERNEL_OWN, AreaKind, MemoryArea
from lamina.core.inspect.corenotes import notes_of, segment_flags
from lamina.core.inspect.layer_memory import open_layer_memory, require_task
from lamina.core.inspect.memory_reader import Memory
from lamina.core.inspect.sources import OwnerKind

_EHDR: Final = struct.Struct("<16s2HI3QI6H")
_PHDR: Final = struct.Struct("<2I6Q")
_SHDR: Final = struct.Struct("<2I4Q2I2Q")
_PT_LOAD, _PT_NOTE = 1, 4
_ET_CORE, _EM_X86_64 = 4, 62
_PN_XNUM: Final = 0xFFFF
_FILES: Final = frozenset({AreaKind.FILE, AreaKind.SHARED_FILE})
# Reserved address space can be terabytes, more than a file can have. A reader takes a segment without content for zeros, too.
_LONG_ZERO: Final = 64 << 20
_WINDOW: Final = 4 << 20
_EVENT_S: Final = 0.05


@dataclass(frozen=True)
class Segment:
    """One PT_LOAD.

    Attributes:
        start, end: addresses.
        prot: PROT_* bits.
        offset: where its content is in the core file; size: bytes of it, all or 0.
    """

    start: int
    end: int
    prot: int
    offset: int
    size: int


@dataclass(frozen=True)
class Written:
    """A core file.

    Attributes:
        path: where it is.
        pid: the task; threads: how many it had.
        size: bytes of the file; disk_bytes: what it takes on disk.
        data_bytes: memory in it that is not zero.
        left_out: bytes of segments without content: pages that files have, or that nobody has any more.
    """

    path: Path
    pid: int
    threads: int
    size: int
    disk_bytes: int
    data_bytes: int
    left_out: int


def write_core(layer: Layer, pid: int, output: Path, listener: Listener = ignore, cancel: CancelToken | None = None) -> Written:
    """Write the core file of task *pid* of *layer* to *output*, which must not exist, readable by its owner only.

    Raises:
        ImageError: no such task, an image is missing or damaged, or the task ran no 64-bit x86 code. LaminaError: it cannot be written.
        Cancelled: *cancel* was used; nothing is left.
    """
    if layer.is_pre_dump:
        raise ImageError("cannot write a core file of", str(layer), layer.memory_only)
    require_task(layer, pid)
    draft = output.with_name(f".{output.name}.lamina-draft")
    try:
        if os.path.lexists(output):
            raise LaminaError("cannot write", str(output), "it exists", "name another file with --output")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LaminaError("cannot write", str(output), os.strerror(error.errno or 0)) from error
    try:
        with open_layer_memory(layer, pid) as memory:
            _require_content(memory, listener)
            notes = notes_of(layer, pid, memory)
            segments = _segments(memory, len(notes))
            data = _Writing(fd, memory, listener, cancel).write(notes, segments)
        info = os.fstat(fd)
        draft.rename(output)
    except OSError as error:
        raise LaminaError("cannot write", str(output), os.strerror(error.errno or 0)) from error
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            draft.unlink()
    threads = next(len(task.threads) or 1 for task in layer.pstree if task.pid == pid)
    left_out = sum(it.end - it.start - it.size for it in segments)
    return Written(output, pid, threads, info.st_size, info.st_blocks * 512, data, left_out)


def _require_content(memory: Memory, listener: Listener) -> None:
    """Refuse what would be zeros in a debugger and were none; say which pages it will have to take from files that have changed."""
    for start, _ in memory.owned_by(OwnerKind.PUNCHED, OwnerKind.MISSING):
        raise ImageError("cannot write a core file of", memory.name, f"its memory is not whole: at {start:#x}, {memory.owner(start)}")
    lost: dict[str, int] = {}
    for start, end in memory.owned_by(OwnerKind.ABSENT):
        for span in memory.spans(start, end):
            if span.area.kind in _FILES:
                lost[span.owner.why] = lost.get(span.owner.why, 0) + span.end - span.start
    for why, size in lost.items():
        listener(Notice(f"left out {size >> 10} KiB, not in the images: {why}"))


# -- what goes in --------------------------------------------------------------------------------------------------------------------


def _segments(memory: Memory, notes_size: int) -> list[Segment]:
    found = list(_cut(memory))
    offset = _page_up(_headers_size(len(found)) + notes_size)
    placed = []
    for area, start, end, filled in found:
        size = end - start if filled else 0
        placed.append(Segment(start, end, area.prot, offset, size))
        offset += size
    return placed


def _cut(memory: Memory) -> Iterator[tuple[MemoryArea, int, int, bool]]:
    """Every area, cut into parts with and without content."""
    written = memory.owned_by(OwnerKind.LAYER)
    of_files = memory.owned_by(OwnerKind.FILE)
    zero = memory.owned_by(OwnerKind.ZERO)
    for area in memory.areas:
        if area.kind in KERNEL_OWN:
            continue
        own = written.clip(area.start, area.end)
        if area.kind in _FILES and not own:
            content = _elf_head(memory, area, of_files)
        else:
            # A mapping that was written to is kept whole, as the kernel does: its rest may be wanted where the file is not.
            nothing = PageRuns.of((start, end) for start, end in zero.clip(area.start, area.end) if end - start < _LONG_ZERO)
            content = own | of_files.clip(area.start, area.end) | nothing
        at = area.start
        for start, end in content:
            if at < start:
                yield area, at, start, False
            yield area, start, end, True
            at = end
        if at < area.end:
            yield area, at, area.end, False


def _elf_head(memory: Memory, area: MemoryArea, of_files: PageRuns) -> PageRuns:
    """The first page of a mapped program or library: it holds the build id by which gdb knows the file."""
    if area.offset or area.start not in of_files or memory.read(area.start, 4) != b"\x7fELF":
        return PageRuns.empty()
    return PageRuns.of([(area.start, area.start + PAGE)])


def _page_up(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _headers_size(segments: int) -> int:
    return _EHDR.size + (segments + 1) * _PHDR.size + (_SHDR.size if segments + 1 >= _PN_XNUM else 0)


def _headers(segments: Sequence[Segment], notes_size: int) -> bytes:
    count = len(segments) + 1
    many = count >= _PN_XNUM
    table_end = _EHDR.size + count * _PHDR.size
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    parts = [
        _EHDR.pack(
            ident, _ET_CORE, _EM_X86_64, 1, 0, _EHDR.size, table_end if many else 0, 0, _EHDR.size, _PHDR.size, min(count, _PN_XNUM),
            _SHDR.size if many else 0, int(many), 0,
        ),
        _PHDR.pack(_PT_NOTE, 0, _headers_size(len(segments)), 0, 0, notes_size, 0, 4),
    ]  # fmt: skip
    parts += [_PHDR.pack(_PT_LOAD, segment_flags(it.prot), it.offset, it.start, 0, it.size, it.end - it.start, PAGE) for it in segments]
    if many:  # the real number of program headers is in sh_info (elf(5), PN_XNUM)
        parts.append(_SHDR.pack(0, 0, 0, 0, 0, 0, 0, count, 0, 0))
    return b"".join(parts)


class _Writing:
    """A core file being written."""

    def __init__(self, fd: int, memory: Memory, listener: Listener, cancel: CancelToken | None) -> None:
        self._fd, self._memory, self._listener, self._cancel = fd, memory, listener, cancel
        self._began = time.monotonic()
        self._last_event = 0.0

    def write(self, notes: bytes, segments: Sequence[Segment]) -> int:
        """Everything; returns the bytes of memory that are not zero."""
        _write_all(self._fd, memoryview(_headers(segments, len(notes)) + notes), 0)
        filled = [it for it in segments if it.size]
        os.ftruncate(self._fd, max([it.offset + it.size for it in filled], default=_headers_size(len(segments)) + len(notes)))
        known = self._memory.known
        parts = [(it, known.clip(it.start, it.end)) for it in filled]
        total = sum(runs.bytes for _, runs in parts)
        done = data = 0
        for segment, runs in parts:
            for address, view, _, _ in self._memory.windows(runs, _WINDOW):
                data += _write_sparse(self._fd, view, segment.offset + address - segment.start)
                done += len(view)
                self._tell(done, total)
        return data

    def _tell(self, done: int, total: int) -> None:
        if self._cancel is not None:
            self._cancel.check("core file")
        now = time.monotonic()
        if now - self._last_event > _EVENT_S or done == total:
            self._last_event = now
            self._listener(Progress("write", done // PAGE, total // PAGE, done, int((now - self._began) * 1e6)))


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], offset + done)


def _write_sparse(fd: int, view: memoryview, offset: int) -> int:
    """Write the pages that are not zero; returns how many bytes."""
    used = np.frombuffer(view, dtype=np.uint64).reshape(-1, PAGE // 8).any(axis=1)
    edges = np.flatnonzero(np.diff(used, prepend=False, append=False)).reshape(-1, 2) * PAGE
    for start, end in edges.tolist():
        _write_all(fd, view[start:end], offset + start)
    return int(used.sum()) * PAGE
