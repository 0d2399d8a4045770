"""The search of the image screen: the line to type into, the search in a thread, its hits, and going from one to the next."""

from dataclasses import replace

from textual import on

from lamina.core.events import CancelToken
from lamina.tui import messages
from lamina.tui.read.page_bytes import BytesReader, MemorySource
from lamina.tui.read.searching import Asked, Search, search
from lamina.tui.screens.frame import Frame
from lamina.tui.widgets.find_bar import FindBar
from lamina.tui.widgets.hex_view import HexView
from lamina.tui.widgets.hits_pane import HitsPane
from lamina.tui.widgets.row_list import RowList


class FindingScreen(Frame):
    """A screen with bytes that can be searched. Subclasses lay out `_hex`, `_find` and `_hits_pane`, and choose `_source`."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = BytesReader()
        self._source: MemorySource | None = None
        self._found = Search(MemorySource(0), Asked(""))
        self._searching: CancelToken | None = None
        self._hex = HexView(id="hex")
        self._find = FindBar()
        self._hits_pane = HitsPane()
        self._hits = self._hits_pane.hits

    @property
    def source(self) -> MemorySource | None:
        """Whose memory is shown."""
        return self._source

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed, letters are letters."""
        return not (self._find.has_focus_within and action in {"find", "hit", "address", "core", "debugger", "next_task", "copy"})

    def action_find(self) -> None:
        """Open the search line."""
        self._find.open()

    @on(FindBar.Left)
    def _left_search(self) -> None:
        self.set_focus(self._hex)

    @on(FindBar.Wanted)
    def _search(self, event: FindBar.Wanted) -> None:
        source, reader = self._source, self._bytes
        if source is None:
            return
        self._stop_search()
        cancel = self._searching = CancelToken()
        asked = replace(event.asked, place=self._hex.address)
        self._hits_pane.searching(asked)
        post = self.post_message

        def searched() -> messages.SearchDone:
            with reader.fresh(source) as memory:
                return messages.SearchDone(search(memory, source, asked, lambda it: post(messages.SearchWentOn(it)), cancel))

        self.ask("search", searched)
        self.lamina.type_ahead.expect("the search", lambda: self._searching is not cancel, give_up=self._stop_search)

    def on_search_went_on(self, message: messages.SearchWentOn) -> None:
        """A search goes on."""
        if self._searching is not None and message.progress.total:
            self._hits_pane.went_on(message.progress)

    @on(RowList.Moved)
    def _to_hit(self) -> None:
        if self._hits.row is not None:
            self._hex.go_to(self._hits.row.address)

    @on(RowList.Chosen)
    def _look_at_hit(self) -> None:
        self.set_focus(self._hex)

    def action_hit(self, by: int) -> None:
        """To the next hit, or the one before."""
        if self._hits.row is not None:
            self._hits.action_move(by)

    def on_search_done(self, message: messages.SearchDone) -> None:
        """A search came to its end."""
        found = message.found
        if found.source != self._source:
            return
        self._found, self._searching = found, None
        self._hits_pane.show(found)
        self._hex.show_hits([(hit.address, hit.size) for hit in found.hits])
        if self.focused is None or self._find.has_focus_within:  # else the user has gone elsewhere meanwhile
            self.set_focus(self._hits if found.hits else self._hex)
        self._to_hit()

    def on_read_failed(self, message: messages.ReadFailed) -> None:
        """The pattern is wrong, or something cannot be read; the app tells the user."""
        if message.about == "search":
            self._searching = None
            self._hits_pane.failed(message.text)

    def on_unmount(self) -> None:
        """Stop the search, as lamina waits for its threads when it is left."""
        self._stop_search()

    def _stop_search(self) -> None:
        if self._searching is not None:
            self._searching.cancel()
            self._searching = None

    def _hide_hits(self) -> None:
        self._hits_pane.display = self._find.display = False
        self._hex.show_hits(())
        self.set_focus(self._hex)
