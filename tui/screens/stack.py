"""Screen 3: the layers of a stack as a graph, what one of them holds, and the memory as of that layer by age of page."""

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from lamina.tui import acts, messages
from lamina.tui.dialogs.restore import ask_restore
from lamina.tui.keymap import STACK_KEYS
from lamina.tui.model.diff import Compared
from lamina.tui.model.layers import LayerRow, StackView
from lamina.tui.model.marks import Marks
from lamina.tui.model.session import Session
from lamina.tui.read.layer_memory import LayerMemory, LayerMemoryReader
from lamina.tui.read.page_bytes import MemorySource
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets.layer_columns import layer_columns, mark_column
from lamina.tui.widgets.layer_detail import LayerDetail
from lamina.tui.widgets.map_pane import MapPane
from lamina.tui.widgets.memory_map import MemoryMap
from lamina.tui.widgets.row_list import RowList


class StackScreen(Frame):
    """Layers beside the detail of one, the memory strip below."""

    WHERE = "stack"
    BINDINGS: ClassVar = STACK_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._marks = Marks()
        self._list: RowList[LayerRow] = RowList(
            [mark_column(lambda row: row.path in self._marks), *layer_columns(self._stands_on)], lambda row: row.path, id="layers"
        )
        self._left = Vertical(id="left", classes="pane")
        self._detail = LayerDetail()
        self._strip = MapPane(id="layer-map")
        self._memory: LayerMemory | None = None
        self._memories = LayerMemoryReader()
        self._newest: LayerRow | None = None

    def compose_body(self) -> Iterable[Widget]:
        """List, detail, strip."""
        with Horizontal(id="body"):
            with self._left:
                self._left.border_title = "layers"
                yield self._list
            yield self._detail
        yield self._strip

    def opened(self) -> None:
        """Show what is known."""
        self._list.focus()
        self.session_changed(self.lamina.session)

    def on_screen_resume(self) -> None:
        """Read the stack whenever one comes here."""
        self.lamina.reader.read_stack()

    def _stands_on(self, row: LayerRow) -> bool:
        target = self.lamina.session.target
        return target is not None and target.layer == row.path and target.alive

    def session_changed(self, session: Session) -> None:
        """Show the layers; the cursor follows a new newest layer."""
        stack = session.stack
        if session.stack_dir is None:
            self._list.empty_text = "no target: 1 chooses a process, o opens a stack"
        elif stack is not None and stack.path == session.stack_dir:
            self._list.empty_text = "no layer yet: d takes the first one"
            self._show(stack)
        else:
            self._list.empty_text = "reading the stack …"
            self._show(StackView(session.stack_dir))

    def _show(self, stack: StackView) -> None:
        newest = max(stack.rows, key=lambda row: row.time, default=None)
        fresh = newest is not None and self._newest is not None and newest.path != self._newest.path
        self._newest = newest
        self._list.show_rows(stack.rows, follow=newest.path if newest is not None and fresh else None)
        self._show_detail()

    def _show_detail(self) -> None:
        row = self._list.row
        stands_on = row is not None and self._stands_on(row)
        self._detail.show(row, stands_on, self.lamina.session.dirty if stands_on else None)

    @on(RowList.Moved)
    def _moved(self) -> None:
        self._show_detail()
        self._read_memory()

    def _read_memory(self, pid: int = 0) -> None:
        row = self._list.row
        if row is None:
            self._strip.show_nothing("no layer chosen")
        else:
            known = self._memory.pid if self._memory is not None else 0
            question = partial(self._memories.read, row.path, pid or known)
            self.lamina.bridge.follow("memory of a layer", lambda: messages.LayerMemoryRead(question()), to=self)

    def on_layer_memory_read(self, message: messages.LayerMemoryRead) -> None:
        """The memory of a layer was resolved."""
        memory = message.memory
        # While a key is held the cursor is further on already; the title says which layer it is.
        if any(row.path == memory.layer for row in self._list.rows):
            self._memory = memory
            task = f", task {memory.pid} of {len(memory.pids)}" if len(memory.pids) > 1 else ""
            self._strip.show(f"memory as of layer {memory.name}{task}, by age of page", memory.space)

    def action_next_task(self) -> None:
        """The memory of the next task of the layer."""
        if self._memory is not None and len(self._memory.pids) > 1:
            at = self._memory.pids.index(self._memory.pid) + 1
            self._read_memory(self._memory.pids[at % len(self._memory.pids)])

    def _chosen_layer(self) -> LayerRow | None:
        if self._list.row is None:
            self.notify("no layer here yet: d takes the first one", severity="warning")
        return self._list.row

    @on(RowList.Chosen)
    def action_image(self) -> None:
        """What the layer under the cursor holds."""
        if row := self._chosen_layer():
            self.lamina.look_at_memory(MemorySource(self._pid_of(row), row.path))

    @on(MemoryMap.Chosen)
    def _page_chosen(self, event: MemoryMap.Chosen) -> None:
        row = self._list.row
        if row is not None:
            self.lamina.look_at_memory(MemorySource(self._pid_of(row), row.path), event.address)

    def _pid_of(self, row: LayerRow) -> int:
        known = self._memory
        return known.pid if known is not None and known.layer == row.path and known.pid else row.pid

    def action_restore(self) -> None:
        """Put the program back to the layer under the cursor, after asking."""
        if row := self._chosen_layer():
            ask_restore(self.lamina, row)

    def action_open(self) -> None:
        """Another stack."""
        if self.lamina.session.stack_option is not None:
            self.notify("lamina was started with --stack: it shows that one only", severity="warning")
        else:
            self.lamina.reader.find_stacks()

    def action_dedup(self) -> None:
        """Plan first: the dialog shows what it frees and what it costs."""
        if row := self._chosen_layer():
            self.lamina.do(acts.plan_dedup(row.path))

    def action_mark(self) -> None:
        """Mark the layer under the cursor, or take its mark away; two marked ones are compared."""
        if row := self._chosen_layer():
            self._marks.toggle(row.path)
            self._list.refresh()
            if row.path in self._marks and len(self._marks) > 1:
                self.action_compare()

    def action_compare(self) -> None:
        """Compare the marked layers, or what there is instead."""
        if row := self._chosen_layer():
            what = self._marks.compared(self._list.rows, row)
            if what is None:
                self.notify("compare it with what? It has no parent: m marks a layer, M compares with what runs", severity="warning")
            else:
                self.lamina.show_difference(what)

    def action_compare_live(self) -> None:
        """Compare the layer under the cursor with the program as it runs."""
        target = self.lamina.session.target
        if target is None or not target.alive:
            self.notify("the program of this stack is not running", severity="warning")
        elif row := self._chosen_layer():
            self.lamina.show_difference(Compared(row.path, None, target.pid, target.name))

    def go_to_layer(self, name: str) -> None:
        """Put the cursor on the layer *name*."""
        at = next((at for at, row in enumerate(self._list.rows) if row.name == name), None)
        if at is not None:
            self._list.move_to(at)
