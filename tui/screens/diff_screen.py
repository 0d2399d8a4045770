"""The diff screen: what differs between two layers, or a layer and the running program, as lists, as a map, and page by page.

First by page maps, which takes no time, then by content, in a thread with progress. Of the pages only the one that is shown is kept.
"""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from lamina.tui import messages, paths
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.keys.keymap import DIFF_KEYS
from lamina.tui.model import units
from lamina.tui.model.compared import Compared
from lamina.tui.model.difference import CHANGED, MEANING, DiffArea, DiffMemory, DiffView, News
from lamina.tui.model.units import address_of
from lamina.tui.operations import command_lines
from lamina.tui.read.comparison import Comparison
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets.diff_areas import area_columns, news_columns
from lamina.tui.widgets.diff_pages import DiffPages
from lamina.tui.widgets.map_pane import MapPane
from lamina.tui.widgets.memory_map import MemoryMap
from lamina.tui.widgets.row_list import RowList

_COMPARING = "difference"


class DiffScreen(Frame):
    """Areas next to news, the map below them, the page under the cursor of the map at the bottom."""

    NAME = "diff"
    BINDINGS: ClassVar = DIFF_KEYS
    STAYS: ClassVar = "#diff-map"

    def __init__(self) -> None:
        super().__init__()
        self._comparison: Comparison | None = None
        self._view: DiffView | None = None
        self._memory: DiffMemory | None = None
        self._address = 0
        self._failed = False
        self._areas: RowList[DiffArea] = RowList(area_columns(), lambda row: (row.which, row.start), id="diff-areas")
        self._areas_pane = Vertical(id="diff-areas-pane", classes="pane")
        self._news: RowList[News] = RowList(news_columns(), lambda row: row, id="diff-news")
        self._news_pane = Vertical(id="diff-news-pane", classes="pane")
        self._map_pane = MapPane(id="diff-map", meaning=MEANING)
        self._map = self._map_pane.map
        self._pages = DiffPages(id="diff-pages")
        self._pages_pane = Vertical(id="diff-pages-pane", classes="pane")

    def compose_body(self) -> Iterable[Widget]:
        """Areas and news, map, page."""
        with Horizontal(id="diff-top"):
            with self._areas_pane:
                yield self._areas
            with self._news_pane:
                yield self._news
        yield self._map_pane
        with self._pages_pane:
            yield self._pages

    def is_ready_for(self, key: str) -> bool:
        """Whether the page maps were compared."""
        return key.isdigit() or self._comparison is None or self._view is not None or self._failed

    def opened(self) -> None:
        """Show what was asked for before."""
        self._areas_pane.border_title = "areas"
        self._news_pane.border_title = "came, went, changed"
        self._pages_pane.border_title = "page"
        self._areas.focus()
        if self._comparison is not None:
            self.compare(self._comparison.what)
        else:
            self._areas.empty_text = "nothing to compare: 3, then m on two layers, or M for a layer and what runs"

    def compare(self, what: Compared) -> None:
        """Compare *what*; a comparison that is still running is given up."""
        if self._comparison is not None:
            self.run_worker(self._comparison.close, thread=True, exit_on_error=False)
        comparison = self._comparison = Comparison(what)
        if not self.is_attached:
            return
        self._view = self._memory = None
        self._failed = False
        self._areas.empty_text = "comparing …"
        self._areas.show_rows(())
        self._news.show_rows(())
        self._map_pane.show_nothing("comparing …")
        self._pages.show(None)
        post = self.post_message
        self.ask(
            _COMPARING,
            lambda: messages.DiffRead(comparison.by_map()),
            lambda: messages.DiffRead(comparison.by_content(lambda it: post(messages.DiffWentOn(what, it)))),
        )

    # -- what was read ---------------------------------------------------------------------------------------------------------------

    def on_diff_read(self, message: messages.DiffRead) -> None:
        """It is known what differs, by map or by content."""
        view = message.view
        if self._comparison is None or view.what is not self._comparison.what:
            return
        first = self._view is None
        self._view = view
        names = " → ".join(view.what.names)
        same = sum(memory.same_areas for memory in view.memories)
        self._areas.empty_text = f"no page differs in {same} areas" if not view.by_map else "no page differs by map"
        self._areas_pane.border_title = Content(f"{names} · {len(view.areas)} areas differ, {same} do not")
        reading = f"by map; reading {units.pages(view.unread)} pages …" if view.by_map and view.unread else ""
        self._areas_pane.border_subtitle = Content(reading or paths.short_line(command_lines.diff_line(view.what)))
        self._news.empty_text = "nothing"
        self._areas.show_rows(view.areas)
        self._news.show_rows(view.news)
        memory = view.memory(self._memory.which) if self._memory is not None else None
        self._show_memory(memory or (view.memories[0] if view.memories else None))
        if first:
            self._area_reached()
        else:
            self._go_to(self._address)

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """The comparison failed, perhaps half way; the app tells the user."""
        if message.about == _COMPARING:
            self._failed = True
            self._areas_pane.border_subtitle = "not compared to the end" if self._view is not None else ""
            self._areas.empty_text = message.text
            self._areas.refresh()
            if self._view is None:
                self._map_pane.show_nothing("cannot be compared")

    def on_diff_went_on(self, message: messages.DiffWentOn) -> None:
        """Pages are being compared."""
        if self._comparison is not None and message.what is self._comparison.what:
            it = message.progress
            share = units.share(it.done, it.total)
            self._areas_pane.border_subtitle = (
                f"reading: {share} of {units.pages(it.total)} pages, {units.rate(it.done_bytes, it.elapsed_us)}"
            )

    def on_both_pages_read(self, message: messages.BothPagesRead) -> None:
        """A page of both sides was read."""
        pages, memory = message.pages, self._memory
        if memory is None or (pages.which, pages.address) != (memory.which, self._address):
            return
        self._pages.show(pages)
        nth, total = memory.place(pages.address)
        fate = memory.fate(pages.address)
        differing = pages.differing
        many = units.counted(differing, "byte differs", "bytes differ") if differing else MEANING.get(fate, "on neither side")
        if fate == CHANGED and not differing:
            many = "the same by now"
        name = self._map.area.name if self._map.area is not None else ""
        place = f"changed page {nth:,} of {total:,}" if nth else ""
        self._pages_pane.border_title = Content(" · ".join(part for part in (f"{pages.address:x} {name}", place, many) if part))
        self._pages_pane.border_subtitle = Content(f"{pages.a.who} → {pages.b.who}")

    # -- going about -----------------------------------------------------------------------------------------------------------------

    def _show_memory(self, memory: DiffMemory | None) -> None:
        self._memory = memory
        if memory is None:
            self._map_pane.show_nothing("there is no memory that both sides have")
            return
        several = self._view is not None and len(self._view.memories) > 1
        self._map_pane.show(f"memory of {memory.which}" if several else "memory", memory.space)

    def _go_to(self, address: int) -> None:
        """The page at *address*: on the map, and side by side."""
        memory, comparison = self._memory, self._comparison
        if memory is None or comparison is None:
            return
        self._address = address & -4096
        self._map.go_to(self._address)
        wanted = self._address
        rows = self._areas.rows
        here = next((at for at, row in enumerate(rows) if row.which == memory.which and row.start <= wanted < row.end), None)
        if here is not None:
            self._areas.move_to(here)
        # While `n` is held, every page that is read in time is shown, and no page is read in vain.
        self.lamina.bridge.follow("page of both sides", lambda: messages.BothPagesRead(comparison.pages(memory, wanted)), to=self)

    @on(RowList.Moved)
    def _row_reached(self, event: RowList.Moved) -> None:
        if event.rows is self._areas:
            self._area_reached()

    def _area_reached(self) -> None:
        area = self._areas.row
        if area is None or self._view is None:
            return
        if self._memory is None or self._memory.which != area.which:
            self._show_memory(self._view.memory(area.which))
        if self._memory is not None and not area.start <= self._address < area.end:
            first = self._memory.first_in(area.start, area.end)
            self._go_to(area.start if first is None else first)

    @on(MemoryMap.Moved)
    def _cell_reached(self) -> None:
        start = self._map.address
        if self._memory is not None and not start <= self._address < start + self._map.scale * 4096:
            self.when_at_rest(self._show_cell)

    def _show_cell(self) -> None:
        start, memory = self._map.address, self._memory
        if memory is not None:
            first = memory.first_in(start, start + self._map.scale * 4096)
            self._go_to(start if first is None else first)

    @on(RowList.Chosen)
    def _row_chosen(self, event: RowList.Chosen) -> None:
        if event.rows is self._areas:
            self._chosen()
        elif isinstance(event.row, News):
            self._news_chosen(event.row)

    def _news_chosen(self, news: News) -> None:
        """Go to the first page of a mapping; of anything else show the whole text, which may be longer than its line."""
        memory = self._view.memory(news.pid) if self._view is not None and news.address >= 0 else None
        if memory is not None and memory is not self._memory:
            self._show_memory(memory)
        if memory is not None and self._map.holds(news.address):
            self._go_to(news.address)
            self._chosen()
        else:
            self.notify(f"{news.sign} {news.text.strip()}")

    @on(MemoryMap.Chosen)
    def _chosen(self) -> None:
        """To the page."""
        if self._memory is not None:
            self.set_focus(self._pages)

    def action_page(self, by: int) -> None:
        """To the next page that differs, or the one before."""
        found = self._memory.step(self._address, by > 0) if self._memory is not None else None
        if found is None:
            self.notify("no further page differs", timeout=2)
        else:
            self._go_to(found)

    def action_area(self, by: int) -> None:
        """To the next area that differs, or the one before."""
        self._areas.action_move(by)

    def action_address(self) -> None:
        """To the page at an address."""

        def wrong(line: str) -> str:
            address = address_of(line)
            return "" if address is not None and self._map.holds(address) else "neither side has memory at that address"

        def answered(line: str | None) -> None:
            address = address_of(line) if line else None
            if address is not None:
                self._go_to(address)

        self.app.push_screen(AskText("go to an address", "7f12 4400 3000", wrong=wrong), answered)

    def action_again(self) -> None:
        """Compare again: the program has gone on."""
        if self._comparison is not None:
            self.compare(Compared(**vars(self._comparison.what)))

    def on_unmount(self) -> None:
        """Stop the comparison, as lamina waits for its threads when it is left."""
        if self._comparison is not None:
            self._comparison.cancel.cancel()

    def action_copy(self) -> None:
        """The command line."""
        if self._comparison is not None:
            self.app.copy_to_clipboard(command_lines.diff_line(self._comparison.what))
            self.notify("copied the command line", timeout=2)

    def action_back(self) -> None:
        """From the page to the map, from there to the stack."""
        if self._pages.has_focus:
            self.set_focus(self._areas)
            return
        if self._comparison is not None:
            self._comparison.cancel.cancel()
        self.lamina.action_show("stack")
