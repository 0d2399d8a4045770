"""Bytes of memory for the hex view: of a layer, with what it inherits, or of a running process. Called in worker threads."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lamina.core.inspect.areas import MemoryArea
    from lamina.core.inspect.memory_reader import Memory, Window

_KEPT = 4
# How many bytes are searched for one that is worth showing first.
_AT_FIRST = 1 << 18
# What a running process has mapped is read again after so many seconds.
_FRESH_S = 0.5


@dataclass(frozen=True)
class MemorySource:
    """Whose memory is shown: that of task *pid* of the layer at *layer*, or of the running process *pid* if that is None.

    For a running process, *base* is its last layer, so that changes since then can be shown.
    """

    pid: int
    layer: Path | None = None
    base: Path | None = None


@dataclass(frozen=True)
class SourceAreas:
    """The areas of a memory.

    Attributes:
        source: whose.
        areas: (start, end, name), ascending.
        parent: the name of the layer it is compared with, or "".
        begin: the address to show first: in the heap, or else in the first page that was written, the first byte that has changed since
            the parent, or else the first that is not zero.
    """

    source: MemorySource
    areas: tuple[tuple[int, int, str], ...]
    parent: str
    begin: int = 0


@dataclass(frozen=True)
class ByteWindow:
    """Some memory.

    Attributes:
        source: whose.
        start: the first address; data: the bytes from there, zero where nothing is known.
        owners: (start, end, who, readable) of what is mapped, ascending.
        changed: one byte for each of `data`, not 0 where it differs from the parent layer; empty if there is no parent.
    """

    source: MemorySource
    start: int
    data: bytes
    owners: tuple[tuple[int, int, str, bool], ...]
    changed: bytes = b""

    @property
    def end(self) -> int:
        """Behind the last address."""
        return self.start + len(self.data)

    def owner(self, address: int) -> tuple[str, bool]:
        """Who has the byte at *address*, and whether it can be read; ("", False) where nothing is mapped."""
        return next(((who, readable) for start, end, who, readable in self.owners if start <= address < end), ("", False))


class BytesReader:
    """Reads memory, and keeps the last few memories open. The areas of a running process are soon read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[MemorySource, tuple[Memory, float]] = {}
        self._parents: dict[MemorySource, MemorySource | None] = {}

    def areas(self, source: MemorySource) -> SourceAreas:
        """What *source* has mapped now.

        Raises:
            LaminaError: there is no such task, or an image is damaged.
        """
        with self._lock:
            if source.layer is None:
                self._forget(source)
            memory, parent = self._opened(source), self._parent(source)
            before = self._opened(parent) if parent is not None else None
            areas = tuple((area.start, area.end, area_name(area)) for area in memory.areas)
            return SourceAreas(
                source, areas, parent.layer.name if parent is not None and parent.layer else "", _begin(source, memory, before)
            )

    def windows(self, source: MemorySource, stretches: Sequence[tuple[int, int]]) -> tuple[ByteWindow, ...]:
        """Each of *stretches* (address, bytes), whatever is there. Raises as `areas`."""
        with self._lock:
            memory, parent = self._opened(source), self._parent(source)
            before = self._opened(parent) if parent is not None else None
            return tuple(_window(source, memory, before, start, size) for start, size in stretches)

    def fresh(self, source: MemorySource) -> "Memory":
        """The memory itself, opened for the caller, who closes it: a search goes on while other memory is shown. Raises as `areas`."""
        return _open_memory(source)

    def _opened(self, source: MemorySource) -> "Memory":
        now = time.monotonic()
        if source in self._open and (source.layer is not None or now - self._open[source][1] < _FRESH_S):
            return self._open[source][0]
        self._forget(source)
        memory = _open_memory(source)
        self._open[source] = (memory, now)
        for old in list(self._open)[:-_KEPT]:
            self._forget(old)
        return memory

    def _parent(self, source: MemorySource) -> MemorySource | None:
        """What *source* is compared with: its parent, or the last layer of a running process, if that has the task."""
        from lamina.core.image.layer import Layer

        if source not in self._parents:
            path = source.base if source.layer is None else source.layer
            layer = Layer(path) if path is not None else None
            parent = layer.parent() if layer is not None and source.layer is not None else layer
            has = parent is not None and source.pid in parent.objects
            self._parents[source] = MemorySource(source.pid, parent.path) if parent is not None and has else None
        return self._parents[source]

    def _forget(self, source: MemorySource) -> None:
        memory, _ = self._open.pop(source, (None, 0.0))
        if memory is not None:
            memory.close()

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for source in list(self._open):
                self._forget(source)


def _open_memory(source: MemorySource) -> "Memory":
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.layer_memory import open_layer_memory
    from lamina.core.inspect.live_memory import open_live_memory

    return open_live_memory(source.pid) if source.layer is None else open_layer_memory(Layer(source.layer), source.pid)


def area_name(area: "MemoryArea") -> str:
    """What an area is called in a narrow place: "heap", "libc.so.6", "anon"."""
    return area.name.rsplit("/", 1)[-1].strip("[]") or area.kind.value


def _begin(source: MemorySource, memory: "Memory", before: "Memory | None") -> int:
    from lamina.core.inspect.sources import OwnerKind

    heap = next(((area.start, area.end) for area in memory.areas if area.kind.value == "heap"), None)
    written = memory.owned_by(OwnerKind.LAYER, OwnerKind.LIVE)
    if heap is None and not written:
        return 0
    start, end = heap or (int(written.starts[0]), int(written.starts[0]) + _AT_FIRST)
    window = _window(source, memory, before, start, min(end - start, _AT_FIRST))
    for marks in (window.changed, window.data):
        if (at := np.flatnonzero(np.frombuffer(marks, np.uint8))).size:
            return start + int(at[0])
    return start


def _window(source: MemorySource, memory: "Memory", before: "Memory | None", start: int, size: int) -> ByteWindow:
    now = memory.window(start, size)
    changed = _changed(now, before.window(start, size)) if before is not None else b""
    owners = tuple((span.start, span.end, str(span.owner), not span.owner.why) for span in now.spans)
    return ByteWindow(source, start, now.data, owners, changed)


def _changed(now: "Window", before: "Window") -> bytes:
    different = np.frombuffer(now.data, np.uint8) != np.frombuffer(before.data, np.uint8)
    return bytes(different.astype(np.uint8))
