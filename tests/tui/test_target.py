"""The target screen on a real program: what its map shows is what the program did."""

from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, start_c
from tests.tui.waiting import until


async def test_the_map_shows_what_was_written(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(110, 36)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2", "d")
        await until(lambda: app.session.target and app.session.target.layer and app.bridge.busy_with is None)
        screen = app.target_screen
        victim.ask("write 60 5")
        await until(lambda: screen._memory and screen._memory.parent and screen._memory.dump_pages >= 60)
        memory = screen._memory
        assert memory is not None and memory.parent == tmp_path / "shots" / "1" and memory.inherited_pages > 900
        dirty = {paint.glyph: paint.runs.pages for paint in memory.space.paints}
        assert dirty["*"] + dirty["+"] == memory.dirty_pages == memory.dump_pages
        first = next(paint.runs for paint in memory.space.paints if paint.glyph == "*")
        assert screen._map.go_to(int(first.starts[0]))
        assert "dirty" in screen._map.under_cursor
        for _ in range(12):
            await pilot.press("plus")
        assert screen._map.scale == 1 and screen._map.scale_text == "1 page, 4.0 KiB"
        assert any(row.tid == victim.pid and row.call for row in screen._threads.rows)
        assert [row.fd for row in screen._descriptors.rows][:3] == [0, 1, 2]
        await until(lambda: " now, " in str(screen._rate.border_title))
        await pilot.press("a", *f"{int(first.starts[-1]):x}", "enter")
        await until(lambda: screen._map.address == int(first.starts[-1]))


async def test_an_ended_target_says_so(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2")
        await until(lambda: app.target_screen._memory)
        victim.end()
        await until(lambda: "has ended" in app.target_screen._map.empty_text)
