"""The question before a restore, about a program that ends while it is asked."""

import os
from pathlib import Path

import pytest

from lamina.core.attach.procfs import Stat, read_stat
from lamina.core.errors import TargetError
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs import ask_restore
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.session import Session
from tests.tui.waiting import until


async def test_a_program_that_ends_meanwhile_does_not_end_lamina(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def once(pid: int) -> Stat:
        reads.append(pid)
        if len(reads) > 1:
            raise TargetError("cannot read", f"process {pid}", "no such process")
        return read_stat(pid)

    monkeypatch.setattr(ask_restore, "read_stat", once)
    app = LaminaApp(Session(tmp_path))
    async with app.run_test():
        ask_restore.ask_restore(app, LayerRow(tmp_path / "1", "1", None, pid=os.getpid()))
        await until(lambda: isinstance(app.screen, Confirm) and app.focused is not None)
    assert reads == [os.getpid()]
