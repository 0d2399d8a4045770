"""What a search in memory found: a list of addresses, and above it how many there are, where, and how long it took."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from lamina.core.events import Progress
from lamina.tui.model import units
from lamina.tui.read.searching import Asked, HitRow, Search
from lamina.tui.widgets.row_list import Column, RowList


class HitsPane(Vertical):
    """The pane; `hits` is the list in it."""

    def __init__(self) -> None:
        super().__init__(id="hits-pane", classes="pane")
        self.hits: RowList[HitRow] = RowList(
            [
                Column("ADDRESS", 12, lambda row: [(f"{row.address:x}", "")]),
                Column("AREA", 14, lambda row: [(row.area, "dim")], keep=40),
                Column("", 0, lambda row: [(row.shown, "")]),
            ],
            lambda row: row.address,
            id="hits",
        )

    def compose(self) -> ComposeResult:
        """The list."""
        yield self.hits

    def on_mount(self) -> None:
        """Hide until something is searched for."""
        self.display = False

    def searching(self, asked: Asked) -> None:
        """A search begins."""
        self.display = True
        self.border_title = Content(f"{asked} · searching …")
        self.hits.empty_text = ""
        self.hits.show_rows(())

    def went_on(self, progress: Progress) -> None:
        """Show how far the search is."""
        share = units.share(progress.done, progress.total)
        self.border_subtitle = f"{share}, {units.rate(progress.done_bytes, progress.elapsed_us)} · Esc stops"

    def failed(self, why: str) -> None:
        """Say why the search cannot be done."""
        self.border_subtitle = ""
        self.border_title = "nothing searched"
        self.hits.empty_text = why
        self.hits.refresh()

    def show(self, found: Search) -> None:
        """Show the hits of a search that has ended."""
        self.display = True
        self.border_subtitle = ""
        many = units.counted(len(found.hits), "hit", "hits") + ("" if found.complete else " and more")
        areas = len({hit.area_start for hit in found.hits})
        where = f" in {units.counted(areas, 'area', 'areas')}" if areas else ""
        self.border_title = Content(f"{found.asked} · {many}{where} · {units.duration(found.elapsed_us)}")
        self.hits.empty_text = "not found"
        self.hits.show_rows(found.hits)
