"""The diff screen on a program that does exactly what it is told: marks, what came and went, the pages, and their bytes on both sides."""

from pathlib import Path

from lamina.tui.app import LaminaApp
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, start_c
from tests.tui.waiting import until

PAGE = 4096


async def test_three_layers_and_the_running_program(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "changing")

    def tell(line: str) -> int:
        found: int = victim.ask(line)["result"]
        return found

    base = tell("map 64")
    tell(f"drop {base} 60")
    shots = tmp_path / "shots"
    app = LaminaApp(Session(shots))
    async with app.run_test(size=(110, 36)) as pilot:

        async def take(number: int) -> None:
            await pilot.press("d")
            await until(lambda: app.session.stack and len(app.session.stack.rows) == number and app.bridge.busy_with is None)

        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3")
        await take(1)
        for page in (0, 7, 8):
            tell(f"write {base} {page} 77")
        tell(f"rewrite {base} 20")
        tell(f"drop {base} 30")
        tell(f"write {base} 60 5")
        opened = tell("open kept")
        await take(2)
        tell(f"write {base} 0 78")
        await take(3)

        # 3 and 1 marked: the older one is side a. What was written again with the same content differs by map and not by content.
        await until(lambda: app.stack._list.row and app.stack._list.row.name == "3")
        await pilot.press("m", "G", "m")
        await until(lambda: app.current_mode == "diff" and app.diff._view and not app.diff._view.by_map)
        screen = app.diff
        view = screen._view
        assert view is not None and view.what.names == ("layer 1", "layer 3")
        area = next(row for row in view.areas if row.start == base)
        assert (area.changed, area.added, area.gone, area.same, area.lost) == (3, 1, 1, 59, 0)
        assert any(news.sign == "+" and f"fd {opened}" in news.text and "kept" in news.text for news in view.news)
        memory = view.memory(victim.pid)
        assert memory is not None
        seen = [base - PAGE]
        while (page := memory.step(seen[-1], forward=True)) is not None and page < base + 64 * PAGE:
            seen.append(page)
        assert [(page - base) // PAGE for page in seen[1:]] == [0, 7, 8, 30, 60]

        # The pages themselves, by keys: what the program wrote is lit on both sides, and nothing else.
        await pilot.press("a", *f"{base:x}", "enter")
        await until(lambda: screen._pages.pages and screen._pages.pages.address == base)
        for number, before, after in ((0, 0, 78), (7, 0, 77), (8, 0, 77)):
            await until(lambda number=number: screen._pages.pages and screen._pages.pages.address == base + number * PAGE)
            pages = screen._pages.pages
            assert pages is not None and pages.a.data is not None and pages.b.data is not None and pages.differing == 1
            assert pages.a.data[:8] == f"page {number}\0".encode()[:8].ljust(8, b"\0")
            assert (pages.a.data[PAGE // 2], pages.b.data[PAGE // 2]) == (before, after)
            assert (pages.a.who, pages.b.who) == ("layer 1", f"layer {3 if number == 0 else 2}")
            lit = [line for line in screen._pages.lines if any(line.marks)]
            assert [line.offset for line in lit] == [PAGE // 2] and screen._pages.side_by_side
            await pilot.press("n")
        app.save_screenshot(str(Path("/tmp/f3/DIFF/diff.svg")))
