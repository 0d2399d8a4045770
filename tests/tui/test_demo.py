"""The demo: a stranger's first minute, and that nothing stays of it."""

import os
from pathlib import Path

from textual.pilot import Pilot

from lamina.tui.demo.host import DemoProgram
from lamina.tui.demo.run import DemoApp
from lamina.tui.model.guide import Guide
from lamina.tui.model.session import Session
from tests.live.harness import Reaper, alive
from tests.tui.waiting import until


def step(program: DemoProgram) -> int:
    cells = program.read()
    return cells.step if cells else -1


async def test_an_incremental_dump_and_a_rewind(reaper: Reaper) -> None:
    program = DemoProgram(seed=3)
    reaper.watch(program.pid)
    app = DemoApp(Session(), program)
    try:
        async with app.run_test(size=(100, 34)) as pilot:
            await until(lambda: app.session.target is not None and step(program) > 2)
            before = step(program)
            await dump(pilot, app, "1")
            first = step(program)
            await until(lambda: step(program) > first + 8)
            assert app.screen is app.target_screen and "2/4" in app.guide.line
            await until(lambda: "*" in app.target_screen.cells.render().plain)
            await dump(pilot, app, "2")
            rows = {row.name: row for row in app.session.stack.rows} if app.session.stack else {}
            assert rows["2"].own_pages < rows["1"].own_pages / 4
            second = step(program)
            await pilot.press("3")
            await until(lambda: app.screen is app.stack and app.stack.focused is not None)
            await pilot.press("down", "r")
            await until(lambda: "Restore layer 1" in str(app.screen.query("#dialog").first().border_title))
            await pilot.press("right", "right", "enter")
            await until(lambda: any(job.operation.kind == "restore" and job.state != "running" for job in app.journal.jobs))
            assert app.journal.jobs[0].state == "ok", app.journal.jobs[0].outcome
            assert before <= step(program) < second
            await until(lambda: step(program) > first + 2)
            restored = program.pid
            await until(lambda: not Guide(*app.GUIDE).line)
            assert Path(f"/proc/{restored}/status").read_text().split("PPid:")[1].split()[0] == str(os.getpid())
    finally:
        program.end()
    assert not alive(restored)
    assert not program.images.exists()


async def dump(pilot: Pilot[None], app: DemoApp, name: str) -> None:
    await pilot.press("d")
    await until(lambda: app.session.target is not None and app.session.target.layer == app.program.images / name)
    await until(lambda: app.session.stack is not None and app.session.stack.rows[0].name == name)
