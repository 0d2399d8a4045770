"""Screen 2: the target's address space as it is now, how fast it changes, its threads and descriptors, and what a dump would write."""

import time
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from lamina.core.attach.identity import Identity
from lamina.tui import messages
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.keys.keymap import TARGET_SCREEN_KEYS
from lamina.tui.model import units
from lamina.tui.model.session import Session
from lamina.tui.model.units import address_of
from lamina.tui.read.page_bytes import MemorySource
from lamina.tui.read.target_memory import TargetMemory, TargetMemoryReader
from lamina.tui.read.target_parts import DescriptorRow, TargetParts, ThreadRow, read_hindrance, read_parts
from lamina.tui.screens.frame import Frame
from lamina.tui.textual_private import bound_actions
from lamina.tui.widgets.dump_now import DumpNow
from lamina.tui.widgets.map_pane import MapPane
from lamina.tui.widgets.memory_map import MemoryMap
from lamina.tui.widgets.rate_graph import RateGraph
from lamina.tui.widgets.row_list import Column, RowList

_REFRESH_S = 1.0
# Reading a large program takes long: at most one part in so many of the time is spent on it.
_REST = 10
_HINDRANCE_S = 10.0
_MEMORY = "memory of the target"


class TargetScreen(Frame):
    """The map above, the graph below it, three small panes at the bottom."""

    NAME = "target"
    USEFUL = ("dump",)
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
                Column("IN", 15, lambda row: [(row.call or row.state, "warm" if row.call == "running" else "dim")]),
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
        self._rate = RateGraph()
        self._next_read = self._next_hindrance = 0.0
        self._hindrance = ""
        self._unreadable: Identity | None = None

    def compose_body(self) -> Iterable[Widget]:
        """Map, graph, threads, descriptors, dump."""
        yield self._pane
        yield self._rate
        with Horizontal(id="target-parts"):
            for title, rows in (("threads", self._threads), ("descriptors", self._descriptors)):
                with Vertical(classes="pane") as pane:
                    pane.border_title = title
                    yield rows
            yield self._dump_now

    def is_ready_for(self, key: str) -> bool:
        """Whether its memory was read, which may take long. Operations on the target itself need not wait for that."""
        target = self.lamina.session.target
        if target is None or not target.alive or self._memory is not None or self._unreadable == target.identity:
            return True
        actions = bound_actions(self, key)
        return key.isdigit() or (bool(actions) and "address" not in actions)

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """Nothing can be shown; the app tells the user why."""
        target = self.lamina.session.target
        if message.about == _MEMORY and target is not None:
            self._unreadable = target.identity

    def opened(self) -> None:
        """Read the target every second."""
        self._map.focus()
        self.session_changed(self.lamina.session)
        self.read()
        self.set_interval(_REFRESH_S, self.read)

    def on_screen_resume(self) -> None:
        """Read the target at once when the screen is shown."""
        self.read()

    def read(self) -> None:
        """Ask for the target's memory, threads and descriptors, if the screen is seen."""
        target, now = self.lamina.session.target, time.monotonic()
        if not (self.is_attached and self.is_current and target is not None and target.alive) or now < self._next_read:
            return
        memory = self._reader
        # Not `ask`: a reading that takes longer than the interval must still be finished.
        follow = self.lamina.bridge.follow
        follow(_MEMORY, lambda: messages.TargetMemoryRead(memory.read(target)), to=self)
        follow("parts of the target", lambda: messages.TargetPartsRead(read_parts(target.pid)), to=self)
        if now >= self._next_hindrance and self.lamina.bridge.busy_with is None:
            self._next_hindrance = now + _HINDRANCE_S
            self.ask("hindrance of the target", lambda: messages.HindranceRead(target.identity, read_hindrance(target.pid)))

    def session_changed(self, session: Session) -> None:
        """Another target, or it ended."""
        target = session.target
        if target is None or not target.alive:
            self._memory = None
            ended = f"{target.name} {target.pid} has ended" if target else "no target: press 1 and choose a process"
            self._pane.show_nothing(ended)
            self._show_parts(TargetParts(0))
        elif self._memory is not None and self._memory.identity != target.identity:
            self._memory, self._hindrance, self._next_read, self._next_hindrance = None, "", 0.0, 0.0
            self.read()
        elif self._memory is None:
            self.read()
        self._show_numbers(session)

    def _show_numbers(self, session: Session) -> None:
        target, dirty = session.target, session.dirty
        own = dirty if dirty is not None and target is not None and dirty.identity == target.identity else None
        self._dump_now.show(target, self._memory, self._hindrance)
        tracked = target is not None and target.alive and bool(target.tracker)
        begin = "not tracked: t begins, and so does the first dump" if target is not None and target.alive else ""
        self._rate.show(own if tracked else None, "counting …" if tracked else begin)
        per_second = own.per_second if own is not None and tracked else ()
        self.title_bar.aside = f"{units.count(per_second[-1])} dirty pages/s" if per_second else ""
        self.title_bar.refresh()

    def on_hindrance_read(self, message: messages.HindranceRead) -> None:
        """It is known what prevents a dump."""
        target = self.lamina.session.target
        if target is not None and message.identity == target.identity:
            self._hindrance = message.text
            self._show_numbers(self.lamina.session)

    def on_target_memory_read(self, message: messages.TargetMemoryRead) -> None:
        """The target's memory was read."""
        memory = message.memory
        target = self.lamina.session.target
        if target is not None and target.alive and memory.identity == target.identity:
            self._memory = memory
            self._pane.show("memory", memory.space)
            self._next_read = time.monotonic() + _REST * memory.took - _REFRESH_S / 2
            self._show_numbers(self.lamina.session)

    def on_target_parts_read(self, message: messages.TargetPartsRead) -> None:
        """Its threads and descriptors were read."""
        target = self.lamina.session.target
        if target is not None and target.alive and target.pid == message.parts.pid:
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

    @on(RowList.Chosen)
    def _thread_chosen(self, event: RowList.Chosen) -> None:
        """The map goes to the stack of a thread."""
        if isinstance(event.row, ThreadRow) and event.row.stack and self._map.go_to(event.row.stack):
            self.set_focus(self._map)

    @on(MemoryMap.Chosen)
    def _page_chosen(self, event: MemoryMap.Chosen) -> None:
        target = self.lamina.session.target
        if target is not None:
            self.lamina.look_at_memory(MemorySource(target.pid, base=target.layer), event.address)
