"""Bytes of memory for the hex view: of a layer through its parents, or of a running process. Called in worker threads."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lamina.core.inspect.areas import MemoryArea
    from lamina.core.inspect.memory import Memory, Window

_KEPT = 4


@dataclass(frozen=True)
class MemorySource:
    """Whose memory is looked at: task *pid* of the layer at *layer*, or the running process *pid* if that is None."""

    pid: int
    layer: Path | None = None


@dataclass(frozen=True)
class SourceAreas:
    """The areas of a memory.

    Attributes:
        source: whose.
        areas: (start, end, name), ascending.
        parent: the name of the layer it is compared with, or "".
        begin: where to begin to look: the heap, or the first page that somebody wrote.
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
        changed: a byte for each of `data`: not 0 where it is another than in the parent layer; empty if there is none.
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
    """Reads memory; keeps the last few memories open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[MemorySource, tuple[Memory, Memory | None, str]] = {}

    def areas(self, source: MemorySource) -> SourceAreas:
        """What *source* has mapped now (a running process is looked at anew).

        Raises:
            LaminaError: there is no such task, or an image is damaged.
        """
        with self._lock:
            if source.layer is None:
                self._forget(source)
            memory, _, parent = self._opened(source)
            areas = tuple((area.start, area.end, area_name(area)) for area in memory.areas)
            return SourceAreas(source, areas, parent, _begin(memory))

    def windows(self, source: MemorySource, stretches: Sequence[tuple[int, int]]) -> tuple[ByteWindow, ...]:
        """Each of *stretches* (address, bytes), whatever is there. Raises as `areas`."""
        with self._lock:
            memory, before, _ = self._opened(source)
            return tuple(_window(source, memory, before, start, size) for start, size in stretches)

    def memory(self, source: MemorySource) -> "Memory":
        """The memory itself, for a search. Raises as `areas`."""
        with self._lock:
            return self._opened(source)[0]

    def _opened(self, source: MemorySource) -> "tuple[Memory, Memory | None, str]":
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.layer_memory import open_layer_memory
        from lamina.core.inspect.live_memory import open_live_memory

        if source not in self._open:
            if source.layer is None:
                found: tuple[Memory, Memory | None, str] = (open_live_memory(source.pid), None, "")
            else:
                layer = Layer(source.layer)
                parent = layer.parent()
                before = open_layer_memory(parent, source.pid) if parent is not None and source.pid in parent.objects else None
                found = (open_layer_memory(layer, source.pid), before, parent.name if parent is not None and before else "")
            self._open[source] = found
            for old in list(self._open)[:-_KEPT]:
                self._forget(old)
        return self._open[source]

    def _forget(self, source: MemorySource) -> None:
        for memory in self._open.pop(source, (None, None, ""))[:2]:
            if memory is not None:
                memory.close()

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for source in list(self._open):
                self._forget(source)


def area_name(area: "MemoryArea") -> str:
    """What an area is called in a narrow place: "heap", "libc.so.6", "anon"."""
    return area.name.rsplit("/", 1)[-1].strip("[]") or area.kind.value


def _begin(memory: "Memory") -> int:
    from lamina.core.inspect.sources import OwnerKind

    heap = next((area.start for area in memory.areas if area.kind.value == "heap"), 0)
    written = memory.owned_by(OwnerKind.LAYER, OwnerKind.LIVE)
    return heap or (int(written.starts[0]) if written else 0)


def _window(source: MemorySource, memory: "Memory", before: "Memory | None", start: int, size: int) -> ByteWindow:
    now = memory.window(start, size)
    changed = _changed(now, before.window(start, size)) if before is not None else b""
    owners = tuple((span.start, span.end, str(span.owner), not span.owner.why) for span in now.spans)
    return ByteWindow(source, start, now.data, owners, changed)


def _changed(now: "Window", before: "Window") -> bytes:
    different = np.frombuffer(now.data, np.uint8) != np.frombuffer(before.data, np.uint8)
    return bytes(different.astype(np.uint8))
