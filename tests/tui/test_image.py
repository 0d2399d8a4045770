"""The image screen on real layers: every byte as it was, what changed since the parent, a search, and the fields of a file."""

from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.model.session import Session
from lamina.tui.read.executable import executable
from lamina.tui.read.page_bytes import MemorySource
from tests.live.harness import Reaper, start_c
from tests.tui.waiting import type_ahead, until

PAGE = 4096


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
        # Only in the stack, where the loader may have left them; and the number in the cell that was written, found by its value.
        await pilot.press("slash", "ctrl+a", "ctrl+a", "enter")
        await until(lambda: screen._searching is None and str(screen._found.asked) == "text: ELF in stack")
        assert all(hit.area == "stack" for hit in screen._found.hits)
        value = str(int.from_bytes(screen._hex.under_cursor[:8], "little"))
        await pilot.press("slash", *["ctrl+a"] * 5, "ctrl+i", *["backspace"] * 3, *value, "enter")
        await until(lambda: screen._searching is None and str(screen._found.asked) == f"int64: {value}")
        assert all(hit.address % 8 == 0 for hit in screen._found.hits)
        await pilot.press("escape")

        tree = screen._tree
        files = next(node for node in tree.root.children if node.data and node.data.label == "files")
        await until(lambda: files.children)
        core = next(node for node in files.children if node.data and node.data.label == f"core-{victim.pid}.img")
        core.expand()
        await until(lambda: any(child.data and child.data.label == "records" for child in core.children))
        await pilot.press("C")
        await until(lambda: app.journal.newest and app.journal.newest.state == "ok" and app.journal.newest.operation.kind == "core")
        assert (tmp_path / "shots" / f"core.2.{victim.pid}").read_bytes()[:4] == b"\x7fELF"
        assert executable(tmp_path / "shots/2", victim.pid) == str(Path(f"/proc/{victim.pid}/exe").readlink())


async def test_keys_wait_until_it_is_known_what_is_mapped(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "changing")
    base = victim.ask("map 16")["result"]
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(80, 24)):
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        type_ahead(app, "3d\r")
        await until(lambda: app.session.stack and app.session.stack.rows)
        type_ahead(app, f"4a{base + PAGE:x}\r")
        await until(lambda: app.image._hex.address == base + PAGE)
        # Not even a way to the layer: it is said, and keys go on.
        app.image.look_at(MemorySource(victim.pid, tmp_path / "none"))
        type_ahead(app, "a")
        await until(lambda: isinstance(app.screen, AskText))
        assert "none" in app.image._hex.empty_text


async def test_a_page_of_the_running_target(reaper: Reaper, tmp_path: Path) -> None:
    """Live bytes: what the program wrote since its layer is lit, and goes on while one looks. On a small terminal, with a search."""
    victim = start_c(reaper, tmp_path / "victim", "changing")
    base = victim.ask("map 16")["result"]
    app = LaminaApp(Session(tmp_path / "shots"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("2", "d")
        await until(lambda: app.session.target and app.session.target.layer and app.bridge.busy_with is None)
        await until(lambda: app.target_screen._memory and app.target_screen._map.holds(base))
        await pilot.press("a", *f"{base + PAGE:x}", "enter", "enter")
        screen = app.image
        await until(lambda: app.current_mode == "image" and screen._hex.under_cursor)
        await pilot.press("a", *f"{base + PAGE + PAGE // 2:x}", "enter")
        victim.ask(f"write {base} 1 200")
        await until(lambda: screen._hex.under_cursor.startswith(b"\xc8"))
        victim.ask(f"write {base} 1 201")
        await until(lambda: screen._hex.under_cursor.startswith(b"\xc9"))
        window = screen._hex.window_at(screen._hex.address)
        assert window is not None and sum(window.changed) == 1 and window.changed[screen._hex.address - window.start]
        assert "1 byte of the page changed since layer 1" in str(screen._hex_pane.border_title)
        await pilot.press("slash", *"page 1", "enter")
        await until(lambda: screen._found.hits and screen._hits.has_focus)
        assert screen._hex.region.height > 3 and screen._hits.region.height > 3  # both are on the screen
        await pilot.press("escape", "escape")
        await until(lambda: app.current_mode == "target")
