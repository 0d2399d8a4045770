"""Screen 3: the layers of a stack as a graph, details of one of them, and the memory as of that layer by age of page."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from lamina.tui.dialogs.ask_restore import ask_restore
from lamina.tui.keys.keymap import STACK_KEYS
from lamina.tui.model.compared import Compared
from lamina.tui.model.layers import LayerRow, StackView
from lamina.tui.model.marks import Marks
from lamina.tui.model.session import Session
from lamina.tui.read.page_bytes import MemorySource
from lamina.tui.screens.layer_actions import LayerActions
from lamina.tui.screens.layer_replay import Replay
from lamina.tui.widgets.layer_columns import layer_columns
from lamina.tui.widgets.layer_detail import LayerDetail
from lamina.tui.widgets.layer_map import LayerMap
from lamina.tui.widgets.memory_map import MemoryMap
from lamina.tui.widgets.row_list import Column, RowList


class StackScreen(LayerActions):
    """Layers next to the details of one, the memory strip below."""

    NAME = "stack"
    STAYS = "#layer-map"
    BINDINGS: ClassVar = STACK_KEYS
    USEFUL = ("dump", "restore", "image", "mark", "verify", "dedup", "squash", "drop", "undo", "play", "label")

    def __init__(self) -> None:
        super().__init__()
        self._marks = Marks()
        self._list: RowList[LayerRow] = RowList(self._columns(()), lambda row: row.path, id="layers")
        self._left = Vertical(id="left", classes="pane")
        self._detail = LayerDetail()
        self._strip = LayerMap(id="layer-map")
        self._newest: LayerRow | None = None
        self._wanted: Path | None = None
        self._replay = Replay(self, self._play, self._playing)

    def _columns(self, rows: Sequence[LayerRow]) -> list[Column[LayerRow]]:
        return layer_columns(self._stands_on, lambda row: row.path in self._marks, rows)

    def compose_body(self) -> Iterable[Widget]:
        """List, detail, strip."""
        with Horizontal(id="body"):
            with self._left:
                self._left.border_title = "layers"
                yield self._list
            yield self._detail
        yield self._strip

    def is_ready_for(self, key: str) -> bool:
        """Whether the stack was read."""
        session = self.lamina.session
        return session.stack_dir is None or (session.stack is not None and session.stack.path == session.stack_dir)

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
            first = "d takes the first one" if session.target else "1 chooses a process, d takes its first one"
            self._list.empty_text = stack.why or f"no layer yet: {first}"
            self._show(stack)
        else:
            self._list.empty_text = "reading the stack …"
            self._show(StackView(session.stack_dir))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a target, offer nothing that needs one."""
        if action in ("track", "dump", "final") and self._list.rows and self.lamina.session.target is None:
            return False
        return super().check_action(action, parameters)

    def _show(self, stack: StackView) -> None:
        newest = stack.newest
        fresh = newest is not None and self._newest is not None and newest.path != self._newest.path
        self._newest = newest
        follow = newest.path if newest is not None and fresh else None
        if self._wanted is not None and stack.row_at(self._wanted) is not None:
            follow, self._wanted = self._wanted, None
        self._list.show_columns(self._columns(stack.listed))
        # A layer that goes to the trash becomes another row. The cursor stays where it is and does not follow it.
        self._list.show_rows(stack.listed, follow=follow)
        self._show_detail()
        self.refresh_bindings()

    def follow(self, path: Path | None) -> None:
        """Put the cursor on the layer at *path* as soon as it is in the list."""
        self._wanted = path

    def _show_detail(self) -> None:
        row = self._list.row
        stands_on = row is not None and self._stands_on(row)
        self._detail.show(row, stands_on, self.lamina.session.dirty if stands_on else None)

    @on(RowList.Moved)
    def _moved(self) -> None:
        self._show_detail()
        self._show_memory()

    def _show_memory(self) -> None:
        rows, row = self._list.rows, self._list.row
        at = next((at for at, other in enumerate(rows) if other is row), 0)
        self._strip.show_layer(row, (*rows[at + 1 : at + 2], *rows[max(0, at - 1) : at]))

    @on(LayerMap.Painted)
    def _painted(self) -> None:
        self._replay.painted()

    def action_next_task(self) -> None:
        """The memory of the next task of the layer."""
        self._strip.show_next_task()

    def layer_row(self) -> LayerRow | None:
        """The layer under the cursor."""
        return self._list.row

    def first_marked(self, among: Sequence[LayerRow]) -> LayerRow | None:
        """Which of some layers is marked."""
        return next((row for row in among if row.path in self._marks), None)

    def action_play(self) -> None:
        """From the oldest layer of this branch to its newest; any key stops it."""
        if (row := self._live_layer()) and (stack := self._stack_view()):
            self._replay.begin(stack.branch(row))

    def _play(self, row: LayerRow) -> None:
        at = next((at for at, other in enumerate(self._list.rows) if other.path == row.path), None)
        if at is None:
            self._replay.stop()
        elif self._list.row is not None and self._list.row.path == row.path:
            self._replay.painted()
        else:
            self._list.move_to(at)

    def _playing(self, goes_on: bool) -> None:
        self._left.border_subtitle = "▶ playing · any key stops" if goes_on else ""

    def on_key(self, event: events.Key) -> None:
        """Any key stops the replay; the keys of the replay itself do no more than that."""
        if self._replay.running:
            self._replay.stop()
            if event.key in ("greater_than_sign", "escape", "space"):
                event.stop()
                event.prevent_default()

    def on_screen_suspend(self) -> None:
        """Stop the replay."""
        self._replay.stop()

    @on(RowList.Chosen)
    def action_image(self) -> None:
        """What the layer under the cursor holds."""
        if self._chosen_layer() and (source := self.memory_under_cursor()):
            self.lamina.look_at_memory(source)

    def memory_under_cursor(self) -> MemorySource | None:
        """That of the layer under the cursor; None if there is no layer."""
        row = self._list.row
        return MemorySource(self._pid_of(row), row.path) if row is not None else None

    @on(MemoryMap.Chosen)
    def _page_chosen(self, event: MemoryMap.Chosen) -> None:
        row = self._list.row
        if row is not None:
            self.lamina.look_at_memory(MemorySource(self._pid_of(row), row.path), event.address)

    def _pid_of(self, row: LayerRow) -> int:
        known = self._strip.memory
        return known.pid if known is not None and known.layer == row.path and known.pid else row.pid

    def action_restore(self) -> None:
        """Put the program back to the layer under the cursor, after asking."""
        if row := self._live_layer():
            ask_restore(self.lamina, row)

    def action_open(self) -> None:
        """Another stack."""
        self.lamina.reader.find_stacks()

    def action_mark(self) -> None:
        """Mark the layer under the cursor, or take its mark away; two marked ones are compared."""
        if row := self._chosen_layer():
            self._marks.keep(self._list.rows)
            self._marks.toggle(row.path)
            self._list.refresh()
            if row.path in self._marks and len(self._marks) > 1:
                self.action_compare()

    def action_compare(self) -> None:
        """Compare the marked layers; without marks, the layer under the cursor with its parent."""
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
