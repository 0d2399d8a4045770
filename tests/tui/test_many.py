"""10,000 processes stay usable: a table as long as that is put on the real screen, which need not be of real processes."""

import random
import time

import pytest

from lamina.core.attach.processes import ProcessInfo
from lamina.tui import messages
from lamina.tui.app import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.read.process import Processes
from lamina.tui.screens.processes import ProcessScreen

MANY = 10_000


def table(seed: int) -> Processes:
    chance = random.Random(seed)
    rows = tuple(
        ProcessInfo(
            pid, chance.randrange(max(0, pid - 300), pid), 7, f"worker-{pid}", "S", 4096 * pid, 1, "root", ("/usr/bin/worker", str(pid))
        )
        for pid in range(3, MANY + 3)  # 2 is where kernel threads are folded
    )
    return Processes(rows, 0.4, {row.pid: row for row in rows})


async def test_ten_thousand_rows_are_refreshed_filtered_and_scrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessScreen, "read", lambda _: None)
    app = LaminaApp(Session())
    async with app.run_test(size=(110, 40)) as pilot:
        app.processes.on_processes_read(messages.ProcessesRead(table(1)))
        rows = app.processes._list
        for _ in range(6):
            await pilot.press("pagedown")
        at = rows.row
        again = table(1)
        took = time.thread_time()
        app.processes.on_processes_read(messages.ProcessesRead(again))
        took = time.thread_time() - took
        assert took < 1, "a refresh keeps the screen from answering"
        assert rows.row == at
        for letter in ("slash", *"worker-77"):
            await pilot.press(letter)
        assert {row.pid for row in rows.rows if row.hit} >= {77, 770, 7700}
        await pilot.press("escape")
        assert len(rows.rows) == MANY
