"""Giving the terminal to another program: whose Ctrl-C it is, and what is said when it cannot be."""

import asyncio
import os
import signal
from pathlib import Path

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.app.settings_file import editor
from lamina.tui.model.session import Session
from lamina.tui.services.external_programs import _run, pager
from tests.tui.waiting import until


async def test_ctrl_c_is_for_the_other_program_and_a_wish_to_leave_is_heard_afterwards() -> None:
    heard: list[int] = []
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard.append, number)
    try:
        us = os.getpid()
        status = _run(["sh", "-c", f'kill -INT {us}; kill -TERM {us}; read line; test "$line" = given'], "given\n")
        await until(lambda: heard)
        await asyncio.sleep(0)
        assert (status, heard) == (0, [signal.SIGTERM])
        os.kill(us, signal.SIGINT)
        await until(lambda: heard == [signal.SIGTERM, signal.SIGINT])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    app = LaminaApp(Session(tmp_path))
    async with app.run_test():
        app.programs.run(["no-such-program", "-x"])
        app.programs.run(["true"])  # without a terminal there is nothing to give away
        said = [entry.text for entry in app.notices.log]
    assert "there is no program no-such-program here: install it, or put it on PATH" in said
    assert "cannot run true: this terminal cannot be given away" in said


def test_the_pager_is_the_users() -> None:
    assert pager({"PAGER": "most -s"}) == ["most", "-s"]
    assert pager({}) == pager({"PAGER": ""}) == pager({"PAGER": 'no "end'}) == ["less"]
    assert editor({"EDITOR": "vi '"}) == ["vi"]
