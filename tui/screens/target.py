"""Screen 2: the target's address space as it is now, its threads and descriptors, and what a dump would write."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from lamina.tui import messages
from lamina.tui.dialogs.ask_text import AskText, address_of
from lamina.tui.keymap import TARGET_SCREEN_KEYS
from lamina.tui.model.session import Session
from lamina.tui.read.page_bytes import MemorySource
from lamina.tui.read.target_memory import TargetMemory, TargetMemoryReader
from lamina.tui.read.target_parts import DescriptorRow, TargetParts, ThreadRow, read_parts
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets.dump_now import DumpNow
from lamina.tui.widgets.map_pane import MapPane
from lamina.tui.widgets.memory_map import MemoryMap
from lamina.tui.widgets.row_list import Column, RowList

_REFRESH_S = 1.0


class TargetScreen(Frame):
    """The map above, three small panes below."""

    WHERE = "target"
    BINDINGS: ClassVar = TARGET_SCREEN_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._reader = TargetMemoryReader()
        self._memory: TargetMemory | None = None
        self._pane = MapPane(id="target-map")
        self._map = self._pane.map
        self._threads: RowList[ThreadRow] = RowList(
            [
                Column("TID", 7, lambda row: [(str(row.tid), "")], right=True),
                Column("NAME", 0, lambda row: [(row.name, "")]),
                Column("IN", 16, lambda row: [(row.call or row.state, "warm" if row.call == "running" else "dim")]),
            ],
            lambda row: row.tid,
            id="threads",
        )
        self._descriptors: RowList[DescriptorRow] = RowList(
            [
                Column("FD", 4, lambda row: [(str(row.fd), "")], right=True),
                Column("KIND", 9, lambda row: [(row.kind, "")]),
                Column("", 0, lambda row: [(row.leads_to, "dim")]),
            ],
            lambda row: row.fd,
            id="descriptors",
        )
        self._dump_now = DumpNow()

    def compose_body(self) -> Iterable[Widget]:
        """Map, threads, descriptors, dump."""
        yield self._pane
        with Horizontal(id="target-parts"):
            for title, rows in (("threads", self._threads), ("descriptors", self._descriptors)):
                with Vertical(classes="pane") as pane:
                    pane.border_title = title
                    yield rows
            yield self._dump_now

    def opened(self) -> None:
        """Look at it every second."""
        self._map.focus()
        self.session_changed(self.lamina.session)
        self.read()
        self.set_interval(_REFRESH_S, self.read)

    def on_screen_resume(self) -> None:
        """Look at once when one comes here."""
        self.read()

    def read(self) -> None:
        """Ask for the target's memory and parts, if anyone sees it."""
        if self.is_attached and self.is_current:
            target = self.lamina.session.target
            if target is not None and target.alive:
                memory = self._reader
                self.ask(
                    "memory of the target",
                    lambda: messages.TargetMemoryRead(memory.read(target)),
                    lambda: messages.TargetPartsRead(read_parts(target.pid)),
                )

    def session_changed(self, session: Session) -> None:
        """Another target, or it ended."""
        target = session.target
        if target is None or not target.alive:
            self._memory = None
            ended = f"{target.name} {target.pid} has ended" if target else "no target: press 1 and choose a process"
            self._pane.show_nothing(ended)
            self._show_parts(TargetParts(0))
        self._dump_now.show(target, self._memory, session.dirty)

    def on_target_memory_read(self, message: messages.TargetMemoryRead) -> None:
        """The target's memory was read."""
        memory = message.memory
        target = self.lamina.session.target
        if target is not None and target.alive and memory.identity == target.identity:
            self._memory = memory
            self._pane.show("memory", memory.space)
            self._dump_now.show(target, memory, self.lamina.session.dirty)

    def on_target_parts_read(self, message: messages.TargetPartsRead) -> None:
        """Its threads and descriptors were read."""
        self._show_parts(message.parts)

    def _show_parts(self, parts: TargetParts) -> None:
        self._threads.show_rows(parts.threads)
        self._descriptors.show_rows(parts.descriptors)

    def action_address(self) -> None:
        """Put the cursor on the page at an address."""

        def wrong(line: str) -> str:
            address = address_of(line)
            return "" if address is not None and self._map.holds(address) else "no area of the target has that address"

        def answered(line: str | None) -> None:
            address = address_of(line) if line else None
            if address is not None:
                self._map.go_to(address)

        self.app.push_screen(AskText("go to an address", "7f12 4400 3000", wrong=wrong), answered)

    @on(MemoryMap.Chosen)
    def _page_chosen(self, event: MemoryMap.Chosen) -> None:
        target = self.lamina.session.target
        if target is not None:
            self.lamina.look_at_memory(MemorySource(target.pid), event.address)
