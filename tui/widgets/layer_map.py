"""The memory as of the layer under the cursor. It is shown without delay: what was read is kept, and neighbouring layers are read ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from textual.message import Message

from lamina.core.errors import LaminaError
from lamina.tui import messages
from lamina.tui.model.layers import LayerRow
from lamina.tui.read.layer_memory import LayerMemories, LayerMemory
from lamina.tui.services.base_app import BaseApp
from lamina.tui.widgets.map_pane import MapPane


class LayerMap(MapPane):
    """A map of one task of one layer; `memory` is what it shows."""

    @dataclass
    class Painted(Message):
        """The memory of the layer is on the screen."""

        layer_map: "LayerMap"

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.memory: LayerMemory | None = None
        self._row: LayerRow | None = None
        self._near: Sequence[LayerRow] = ()

    @property
    def _lamina(self) -> BaseApp:
        return cast(BaseApp, self.app)

    @cached_property
    def _memories(self) -> LayerMemories:
        return LayerMemories(self._lamina.reader.stacks)

    def show_layer(self, row: LayerRow | None, near: Sequence[LayerRow] = (), pid: int = 0) -> None:
        """Show the memory of task *pid* (the one shown before if it is 0) as of *row*; *near* are the rows likely to be asked for next."""
        self._row, self._near = row, near
        pid = pid or (self.memory.pid if self.memory is not None else 0)
        if row is None:
            self.show_nothing("no layer chosen")
        elif (known := self._memories.known(row, pid)) is not None:
            self._paint(known)
        else:
            self._lamina.bridge.follow("memory of a layer", lambda: self._resolved(row, pid), to=self)

    def show_next_task(self) -> None:
        """The memory of the next task of the layer."""
        if self.memory is not None and len(self.memory.pids) > 1:
            at = self.memory.pids.index(self.memory.pid) + 1
            self.show_layer(self._row, self._near, self.memory.pids[at % len(self.memory.pids)])

    def _resolved(self, row: LayerRow, pid: int) -> messages.LayerMemoryRead | messages.LayerMemoryLost:
        try:
            return messages.LayerMemoryRead(self._memories.read(row, pid))
        except (LaminaError, OSError) as error:
            return messages.LayerMemoryLost(row.path, str(error))

    def on_layer_memory_read(self, message: messages.LayerMemoryRead) -> None:
        """The memory of a layer was resolved."""
        if self._row is not None and self._row.path == message.memory.layer:
            self._paint(message.memory)

    def on_layer_memory_lost(self, message: messages.LayerMemoryLost) -> None:
        """The memory of a layer cannot be resolved: show no map rather than that of another layer."""
        if self._row is not None and self._row.path == message.layer:
            self.show_nothing(message.why)
            self.post_message(self.Painted(self))

    def _paint(self, memory: LayerMemory) -> None:
        self.memory = memory
        task = f", task {memory.pid} of {len(memory.pids)}" if len(memory.pids) > 1 else ""
        self.show(f"memory as of layer {memory.name}{task}, by age of page", memory.space)
        self.post_message(self.Painted(self))
        ahead = next((row for row in self._near if row.own_pages and self._memories.known(row, memory.pid) is None), None)
        if ahead is not None:
            self._lamina.bridge.follow("memory of a layer", lambda: self._memories.read_ahead(ahead, memory.pid), to=self)
