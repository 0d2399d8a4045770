"""The diff screen on a program that does exactly what it is told: marks, what came and went, the pages, and their bytes on both sides."""

from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.both_pages import BothPages
from lamina.tui.model.difference import DiffView
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, Victim, start_c
from tests.tui.waiting import until

PAGE = 4096


@dataclass
class Story:
    """The victim with its area of 64 pages at *base*, and the app that looks at it."""

    victim: Victim
    base: int
    app: LaminaApp
    pilot: Pilot[None]

    def tell(self, line: str) -> int:
        found: int = self.victim.ask(line)["result"]
        return found

    async def take(self, number: int) -> None:
        """Layer *number*."""
        await self.pilot.press("d")
        app = self.app
        await until(lambda: app.session.stack and len(app.session.stack.rows) == number and app.bridge.busy_with is None)

    async def compared(self, a: str, b: str) -> DiffView:
        """What differs, once contents were read."""
        screen = self.app.diff
        await until(lambda: screen._view and not screen._view.by_map and screen._view.what.names == (a, b))
        assert self.app.current_mode == "diff" and screen._view is not None
        return screen._view

    async def page(self, number: int) -> BothPages:
        """Page *number* of the area, once it is on the screen."""
        shown = self.app.diff._pages
        await until(lambda: shown.pages and shown.pages.address == self.base + number * PAGE)
        assert shown.pages is not None
        return shown.pages


async def test_three_layers_and_the_running_program(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "changing")
    base = victim.ask("map 64")["result"]
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(110, 36)) as pilot:
        it = Story(victim, base, app, pilot)
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3")
        it.tell(f"drop {base} 60")
        await it.take(1)
        for page in (0, 7, 8):
            it.tell(f"write {base} {page} 77")
        it.tell(f"rewrite {base} 20")  # at another place in the stack, with the same content
        it.tell(f"drop {base} 30")
        it.tell(f"write {base} 60 5")
        opened = it.tell("open kept")
        await it.take(2)
        it.tell(f"write {base} 0 78")
        await it.take(3)
        await until(lambda: app.stack._list.row and app.stack._list.row.name == "3")
        await pilot.press("m", "G", "m")
        view = await it.compared("layer 1", "layer 3")
        area = next(row for row in view.areas if row.start == base)
        assert (area.changed, area.added, area.gone, area.same, area.lost) == (3, 1, 1, 59, 0)
        assert any(news.sign == "+" and f"fd {opened}" in news.text and "kept" in news.text for news in view.news)
        await look_at_pages(it)
        await pilot.press("escape", "escape")
        await until(lambda: app.current_mode == "stack")
        assert [row.path in app.stack._marks for row in app.stack._list.rows] == [True, False, True]
        await look_at_what_runs(it)


async def look_at_pages(it: Story) -> None:
    """`n` from page to page: what the program wrote is lit on both sides, and nothing else."""
    shown, press = it.app.diff._pages, it.pilot.press
    await press("a", *f"{it.base:x}", "enter")
    for number, before, after in ((0, 0, 78), (7, 0, 77), (8, 0, 77)):
        pages = await it.page(number)
        assert pages.a.data is not None and pages.b.data is not None and pages.differing == 1
        assert pages.a.data.startswith(f"page {number}\0".encode())
        assert (pages.a.data[PAGE // 2], pages.b.data[PAGE // 2]) == (before, after)
        assert (pages.a.who, pages.b.who) == ("layer 1", f"layer {2 if number else 3}")
        lit = [line for line in shown.lines if any(line.marks)]
        assert [line.offset for line in lit] == [PAGE // 2] and shown.side_by_side
        await press("n")
    dropped = await it.page(30)
    assert dropped.a.who == "layer 1" and dropped.b.who == "zero" and dropped.differing == len("page 30")
    await press("n")
    await it.page(60)
    await press("N", "N", "enter")
    await it.page(8)
    await until(lambda: shown.has_focus)


async def look_at_what_runs(it: Story) -> None:
    """The running program against its newest layer: one more page, and nothing else of that area."""
    it.tell(f"write {it.base} 40 9")
    await it.pilot.press("g", "M")
    view = await it.compared("layer 3", f"changing {it.victim.pid} now")
    area = next(row for row in view.areas if row.start == it.base)
    assert (area.changed, area.added, area.gone) == (1, 0, 0)
    await it.pilot.press("a", *f"{it.base + 40 * PAGE:x}", "enter")
    pages = await it.page(40)
    assert pages.b.data is not None and pages.b.data[PAGE // 2] == 9 and pages.b.who == "live"
    await follow_news(it)


async def follow_news(it: Story) -> None:
    """Enter on what came: a mapping leads to its first page, all else is said in full."""
    start, descriptor, app = it.tell("map 4"), it.tell("open other"), it.app
    await it.pilot.press("equals_sign")
    await until(lambda: app.diff._view and any(news.address == start for news in app.diff._view.news))
    news = app.diff._news
    news.focus()
    news.move_to(next(at for at, row in enumerate(news.rows) if f"fd {descriptor}" in row.text))
    await it.pilot.press("enter")
    await until(lambda: any(f"fd {descriptor}" in entry.text for entry in app.notices.log))
    news.move_to(next(at for at, row in enumerate(news.rows) if row.address == start))
    await it.pilot.press("enter")
    await until(lambda: app.diff._pages.has_focus and app.diff._pages.pages and app.diff._pages.pages.address == start)
