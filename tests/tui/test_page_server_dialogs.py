"""A layer sent by its key to a page server, and a page server on the screen: two laminas, one in each hand."""

from pathlib import Path

import pytest
from textual.widgets import Input

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.ask_page_server import ReceiveDialog, SendDialog, address_of
from lamina.tui.model.session import Session
from lamina.tui.model.typed import ADDRESSES, read_lines
from tests.live.harness import Reaper, lamina, start_c
from tests.live.page_servers import page_server
from tests.live.test_diskless import free_port
from tests.tui.waiting import until


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("10.0.0.2:9999", ("10.0.0.2", 9999)),
        ("[::1]:80", ("::1", 80)),
        ("host.example:1", ("host.example", 1)),
        ("9999", None),
        (":9999", None),
        ("host:", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:1e3", None),
        ("a b:1", None),
    ],
)
def test_addresses(text: str, means: tuple[str, int] | None) -> None:
    if means is None:
        with pytest.raises(ValueError):
            address_of(text)
    else:
        assert address_of(text) == means


async def test_a_layer_is_sent_and_says_where_its_pages_are(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    app = LaminaApp(Session(tmp_path / "shots"))
    with page_server(tmp_path / "R/1") as server:
        async with app.run_test(size=(120, 34)) as pilot:
            app.reader.aim(victim.pid)
            await until(lambda: app.session.target)
            await pilot.press("3", "S")
            await until(lambda: isinstance(app.screen, SendDialog))
            dialog = app.screen
            dialog.query_one("#address-0", Input).value = f"127.0.0.1:{server.port}"
            await until(lambda: f"--port {server.port}" in str(dialog.query_one("#command").render()))
            await pilot.press("enter")
            await until(lambda: app.journal.jobs and app.journal.jobs[0].outcome)
            job = app.journal.jobs[0]
            assert "pages sent to 127.0.0.1" in job.outcome and "--page-server" in job.command
            server.end()
            await until(lambda: app.session.stack and app.session.stack.rows and app.session.stack.rows[0].finding)
            row = app.session.stack.rows[0]  # type: ignore[union-attr]
            assert not row.restorable and f"page server 127.0.0.1:{server.port}" in row.finding
            await until(lambda: read_lines(ADDRESSES) == [f"127.0.0.1:{server.port}"])
    lamina("untrack", "-t", victim.pid)


async def test_the_screen_receives_a_layer(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    (tmp_path / "S/1").mkdir(parents=True)
    (tmp_path / "R").mkdir()
    app = LaminaApp(Session(tmp_path / "R"))
    port = free_port()
    async with app.run_test(size=(120, 34)) as pilot:
        app.reader.open_stack(tmp_path / "R")
        await until(lambda: app.session.stack)
        await pilot.press("3", "W")
        await until(lambda: isinstance(app.screen, ReceiveDialog))
        app.screen.query_one("#address-0", Input).value = f"127.0.0.1:{port}"
        await pilot.press("enter")
        await until(lambda: app.journal.running and app.journal.running.command)
        running = app.journal.running
        await until(lambda: running and running.progress and running.progress.phase == "waits for a sender")
        from asyncio import to_thread

        await to_thread(lamina, "dump", "-t", victim.pid, "-D", tmp_path / "S/1", "-R", "--page-server", "--port", port)
        await until(lambda: app.journal.jobs and app.journal.jobs[0].outcome)
        assert "pages received from 127.0.0.1" in app.journal.jobs[0].outcome
        await until(lambda: app.session.stack and app.session.stack.rows)
        row = app.session.stack.rows[0]  # type: ignore[union-attr]
        assert (row.name, row.foreign, row.restorable) == ("1", False, False)
        assert row.tracker.startswith("sent by 127.0.0.1:") and "the sender's images are not here yet" in row.why
