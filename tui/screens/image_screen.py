"""Screen 4: what a layer holds, as a tree; its memory, byte by byte, with what it inherits; and a search in it.

The same for a running process, without the tree: one reader reads both.
"""

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lamina.tui import messages, operations
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.keys.keymap import IMAGE_KEYS
from lamina.tui.model import units
from lamina.tui.model.units import address_of
from lamina.tui.model.values import values_at
from lamina.tui.read.contents import Contents, read_contents, read_file_branches
from lamina.tui.read.page_bytes import MemorySource, SourceAreas
from lamina.tui.screens.finding import FindingScreen
from lamina.tui.widgets.contents_tree import ContentsTree
from lamina.tui.widgets.hex_view import PAGE, HexView

_REFRESH_S = 1.0


class ImageScreen(FindingScreen):
    """Contents to the left, bytes to the right, hits below them."""

    NAME = "image"
    BINDINGS: ClassVar = IMAGE_KEYS

    def __init__(self) -> None:
        super().__init__()
        self._areas: SourceAreas | None = None
        self._unreadable: MemorySource | None = None
        self._contents: Contents | None = None
        self._wanted_address: int | None = None
        self._tree = ContentsTree()
        self._tree_pane = Vertical(id="contents-pane", classes="pane")
        self._hex_pane = Vertical(id="hex-pane", classes="pane")
        self._column = Vertical(id="bytes")
        self._values = Static(id="values")

    def compose_body(self) -> Iterable[Widget]:
        """Tree, bytes with their values, search."""
        with Horizontal(id="body"):
            with self._tree_pane:
                self._tree_pane.border_title = "contents"
                yield self._tree
            with self._column:
                with self._hex_pane:
                    yield self._hex
                    yield self._values
                yield self._find
                yield self._hits_pane

    def alone(self, pane: Widget) -> Widget:
        """The bytes, the search line and the hits are shown together."""
        return pane if pane is self._tree_pane else self._column

    def is_ready_for(self, key: str) -> bool:
        """Whether the list of areas was read."""
        return key.isdigit() or self._source is None or self._areas is not None or self._source == self._unreadable

    def opened(self) -> None:
        """Nothing is chosen yet."""
        self.set_interval(_REFRESH_S, self._read_again)
        self._hex.empty_text = "no memory chosen: Enter on a layer (3) or on a page of the target (2)"
        self._hex.focus()
        if self._source is not None:
            self.look_at(self._source, self._wanted_address)

    def look_at(self, source: MemorySource, address: int | None = None) -> None:
        """Show the memory of *source*, the cursor on *address*."""
        self._stop_search()
        other_layer = self._contents is None or source.layer != self._contents.layer
        if source != self._source:
            self._areas = None
            self._hex.empty_text = "reading …"
            self._hex.show_areas(())
        self._source, self._wanted_address = source, address
        if not self.is_attached:
            return
        reader, layer = self._bytes, source.layer
        self.ask("memory", lambda: messages.AreasRead(reader.areas(source)))
        self._tree_pane.display = layer is not None
        if layer is not None and other_layer:
            self.ask("contents", lambda: messages.ContentsRead(read_contents(layer)))

    # -- what was read ---------------------------------------------------------------------------------------------------------------

    def on_contents_read(self, message: messages.ContentsRead) -> None:
        """The tree of a layer was read."""
        contents = message.contents
        if self._source is not None and contents.layer == self._source.layer:
            self._contents = contents
            self._tree.show(contents)
            self._tree_pane.border_title = Content(f"layer {contents.name}")

    def on_fields_read(self, message: messages.FieldsRead) -> None:
        """The fields of a file were read."""
        if self._contents is not None and message.layer == self._contents.layer:
            self._tree.show_fields(message.file, message.branches)

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """It cannot be shown; the app tells the user."""
        if message.about == "memory":
            self._unreadable = self._source
            self._hex.empty_text = message.text
            self._hex.refresh()

    def on_areas_read(self, message: messages.AreasRead) -> None:
        """It is known what is mapped."""
        areas = message.areas
        if areas.source == self._source:
            self._areas = areas
            self._hex.show_hits(())
            self._hits_pane.display = False
            self._hex.show_areas(areas.areas, areas.begin if self._wanted_address is None else self._wanted_address)
            self._wanted_address = None

    def on_windows_read(self, message: messages.WindowsRead) -> None:
        """Some memory was read."""
        if message.source == self._source:
            self._hex.show_windows(message.first, message.windows)

    def _read_again(self) -> None:
        """Read again what is shown: a running program has gone on."""
        if self._source is not None and self._source.layer is None and self.is_current:
            self._hex.read_again()

    # -- bytes -----------------------------------------------------------------------------------------------------------------------

    @on(HexView.Wanted)
    def _read_windows(self, event: HexView.Wanted) -> None:
        source, reader = self._source, self._bytes
        if source is not None:
            self.ask("bytes", lambda: messages.WindowsRead(source, event.first, reader.windows(source, event.stretches)))

    @on(HexView.Moved)
    def _describe(self) -> None:
        address, areas = self._hex.address, self._areas
        window = self._hex.window_at(address)
        name = next((name for start, end, name in areas.areas if start <= address < end), "") if areas else ""
        parts = [f"{address:x} {name}".rstrip()]
        if window is not None:
            parts.append(window.owner(address)[0])
            page = (address & -PAGE) - window.start
            if window.changed and areas is not None and page >= 0:
                count = sum(window.changed[page : page + PAGE])
                changed = units.counted(count, "byte of the page", "bytes of the page")
                parts.append(f"{changed} changed since layer {areas.parent}" if count else f"as in layer {areas.parent}")
        self._hex_pane.border_title = Content(" · ".join(part for part in parts if part))
        text = Text(no_wrap=True, overflow="ellipsis")
        for kind, value in values_at(self._hex.under_cursor) if self._hex.under_cursor else ():
            text.append(f"\n {kind} " if kind == "f32" else f" {kind} ", style="dim")
            text.append(value)
        self._values.update(text)

    @on(ContentsTree.Opened)
    def _read_fields(self, event: ContentsTree.Opened) -> None:
        if self._contents is not None:
            layer, file = self._contents.layer, event.file
            self.ask(f"fields of {file}", lambda: messages.FieldsRead(layer, file, read_file_branches(layer, file)))

    @on(ContentsTree.Led)
    def _lead(self, event: ContentsTree.Led) -> None:
        if self._source is not None:
            source = MemorySource(event.pid, self._source.layer)
            if source == self._source:
                self._hex.go_to(event.address)
            else:
                self.look_at(source, event.address)

    def action_address(self) -> None:
        """Go to an address."""

        def wrong(line: str) -> str:
            address = address_of(line)
            areas = self._areas.areas if self._areas else ()
            mapped = address is not None and any(start <= address < end for start, end, _ in areas)
            return "" if mapped else "nothing is mapped there"

        def answered(line: str | None) -> None:
            address = address_of(line) if line else None
            if address is not None:
                self._hex.go_to(address)
                self.set_focus(self._hex)

        self.app.push_screen(AskText("go to an address", "7f12 4400 3000", wrong=wrong), answered)

    def action_next_task(self) -> None:
        """The memory of the next task of the layer."""
        if self._contents is not None and self._source is not None and self._source.pid in self._contents.pids:
            at = self._contents.pids.index(self._source.pid) + 1
            self.look_at(MemorySource(self._contents.pids[at % len(self._contents.pids)], self._source.layer))

    def action_copy(self) -> None:
        """The bytes under the cursor."""
        self.app.copy_to_clipboard(self._hex.under_cursor[:16].hex(" "))
        self.notify("copied 16 bytes", timeout=2)

    def action_back(self) -> None:
        """One step back: the search, its hits, the screen."""
        self._stop_search()
        if self._hits_pane.display:
            self._hide_hits()
        else:
            self.lamina.action_show("stack" if self._source is not None and self._source.layer else "target")

    def action_debugger(self) -> None:
        """gdb on a core file of this task."""
        if self._source is not None and self._source.layer is not None:
            self.lamina.programs.open_gdb(self._source.layer, self._source.pid)
        else:
            self.action_core()  # which says why not

    def action_core(self) -> None:
        """Write a core file for gdb."""
        if self._source is not None and self._source.layer is not None:
            self.lamina.do(operations.core(self._source.layer, self._source.pid))
        else:
            self.notify("a core file is made of a layer: 3, then Enter on one", severity="warning")
