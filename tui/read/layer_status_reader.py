"""How much each tracked process writes, and how many layers processes have. Called in worker threads; changes no tracker."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lamina.core.attach.identity import Identity
from lamina.core.attach.processes import ProcessInfo
from lamina.core.errors import LaminaError
from lamina.tui.model.dirty_pages import Dirty
from lamina.tui.model.layer_status import LayerStatus
from lamina.tui.model.target import is_tracker
from lamina.tui.read.dirty import DirtyReader

# Counting for a large process takes long: at most one part in so many of the time is spent on it.
_REST = 20


@dataclass
class _Counted:
    reader: DirtyReader
    dirty: Dirty | None = None
    next_read: float = 0.0


class LayerStatusReader:
    """Reads the status of the same processes again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[Identity, _Counted] = {}
        self._layers: dict[str, tuple[tuple[int, int], int, int]] = {}

    def read(self, processes: Iterable[ProcessInfo], busy_with: int) -> dict[int, LayerStatus]:
        """The status of all *processes* that are on a layer or tracked. Does not count for *busy_with*, on which the engine works."""
        with self._lock:
            found = {}
            seen = set()
            for process in processes:
                if not (process.layer_dir or is_tracker(process.tracker)):
                    continue
                layers, freeze_us = self._stack(process.layer_dir) if process.layer_dir else (0, 0)
                dirty = None
                if is_tracker(process.tracker):
                    seen.add(process.identity)
                    dirty = self._dirty(process.identity, process.pid == busy_with)
                found[process.pid] = LayerStatus(layers, freeze_us, dirty)
            for identity in set(self._counted) - seen:
                self._counted.pop(identity).reader.close()
            return found

    def _dirty(self, identity: Identity, busy: bool) -> Dirty | None:
        counted = self._counted.setdefault(identity, _Counted(DirtyReader()))
        began = time.monotonic()
        if not busy and began >= counted.next_read:
            try:
                counted.dirty = counted.reader.read(identity)
            except LaminaError:
                counted.dirty = None  # it has ended, which the next table shows
            now = time.monotonic()
            counted.next_read = now + _REST * (now - began)
        return counted.dirty

    def _stack(self, layer: str) -> tuple[int, int]:
        stack = Path(layer).parent
        try:
            # Also that of the layer itself: it has its name before it is committed.
            stamp = stack.stat().st_mtime_ns, Path(layer).stat().st_mtime_ns
        except OSError:
            return 0, 0
        kept = self._layers.get(layer)
        if kept is None or kept[0] != stamp:
            kept = self._layers[layer] = (stamp, len(list(stack.glob("*/inventory.img"))), _freeze_us(Path(layer)))
        return kept[1], kept[2]


def _freeze_us(layer: Path) -> int:
    from lamina.core.image.layer import Layer

    try:
        sidecar = Layer(layer).sidecar
    except LaminaError:
        return 0
    return sidecar.freeze_us if sidecar else 0
