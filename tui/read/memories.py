"""The memories of layers that were looked at last: a cursor that goes back and forth, or a replay, is followed at once."""

import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from lamina.core.errors import LaminaError
from lamina.tui.model.layers import LayerRow
from lamina.tui.read.layer_memory import LayerMemory, LayerMemoryReader

# Each is the page runs of one task, some tens of bytes a run.
_KEPT = 16


class Memories:
    """Reads the memory of layers, and keeps the last few."""

    def __init__(self) -> None:
        self._reader = LayerMemoryReader()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int, int], LayerMemory] = OrderedDict()

    def known(self, row: LayerRow, pid: int) -> LayerMemory | None:
        """The memory of task *pid* as of *row*, if it was read and no file of the layer changed since. Reads nothing."""
        with self._lock:
            return self._kept.get((row.path, row.stamp, pid))

    def read(self, row: LayerRow, pid: int) -> LayerMemory:
        """The memory of task *pid* (of the first one if the layer has no such task) as of *row*; called in worker threads.

        Raises:
            LaminaError: the layer or one it inherits from is damaged.
        """
        found = self.known(row, pid) or self._reader.read(row.path, pid)
        with self._lock:
            self._kept[row.path, row.stamp, pid] = found
            self._kept.move_to_end((row.path, row.stamp, pid))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def keep(self, row: LayerRow, pid: int) -> None:
        """Read it ahead of being asked for; what cannot be read is said when it is."""
        with suppress(LaminaError, OSError):
            self.read(row, pid)
