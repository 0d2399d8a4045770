"""The image screen on real layers: every byte as it was, what changed since the parent, a search, and the fields of a file."""

from pathlib import Path

from lamina.tui.app import LaminaApp
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, start_c
from tests.tui.waiting import until


async def test_bytes_changes_search_and_fields(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(120, 40)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3", "d")
        await until(lambda: app.session.target and app.session.target.layer and app.bridge.busy_with is None)
        victim.ask("write 3 7")
        await pilot.press("d")
        await until(lambda: app.session.target and app.session.target.layer == tmp_path / "shots/2")
        await until(lambda: app.session.stack and len(app.session.stack.rows) == 2)
        await pilot.press("enter")
        screen = app.image
        await until(lambda: screen._hex.under_cursor)
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.layer_memory import open_layer_memory

        layer = Layer(tmp_path / "shots/2")
        changed = layer.pagemap(victim.pid).present
        with open_layer_memory(layer, victim.pid) as memory, open_layer_memory(Layer(tmp_path / "shots/1"), victim.pid) as before:
            differing = next(
                start + at
                for start, end in changed
                for at, (now, then) in enumerate(zip(memory.read(start, end - start), before.read(start, end - start), strict=True))
                if now != then
            )
            await pilot.press("a", *f"{differing:x}", "enter")
            await until(lambda: screen._hex.address == differing and screen._hex.under_cursor)
            assert screen._hex.under_cursor == memory.read(differing, 64)
        assert "changed since layer 1" in str(screen._hex_pane.border_title)
        window = screen._hex.window_at(differing)
        assert window is not None and window.changed[differing - window.start] and window.owner(differing) == ("layer 2", True)

        await pilot.press("slash", *"ELF", "enter")
        await until(lambda: screen._found.hits)
        assert all(hit.shown.startswith("ELF") for hit in screen._found.hits)
        await pilot.press("n")
        await until(lambda: screen._hex.address == screen._found.hits[1].address)
        await pilot.press("escape")

        tree = screen._tree
        files = next(node for node in tree.root.children if node.data and node.data.label == "files")
        files.expand()
        await until(lambda: files.children)
        core = next(node for node in files.children if node.data and node.data.label == f"core-{victim.pid}.img")
        core.expand()
        await until(lambda: any(child.data and child.data.label == "records" for child in core.children))
        await pilot.press("C")
        await until(lambda: app.journal.newest and app.journal.newest.state == "ok" and app.journal.newest.act.kind == "core")
        assert (tmp_path / "shots" / f"core.2.{victim.pid}").read_bytes()[:4] == b"\x7fELF"


async def test_a_page_of_the_running_target(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2")
        await until(lambda: app.target_screen._memory and app.target_screen._map.area)
        await pilot.press("enter")
        await until(lambda: app.current_mode == "image" and app.image._hex.under_cursor)
        await pilot.press("escape")
        await until(lambda: app.current_mode == "target")
