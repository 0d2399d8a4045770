"""The stack screen by keys, on a real program's layers and on criu's with no process at all: what the program answers proves each step."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from lamina.core.image.layer import Layer
from lamina.core.verify import check_chain
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.choose_layer import ChooseLayer
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model import journal
from lamina.tui.model.address_space import AddressSpace
from lamina.tui.model.journal import Job
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.session import Session
from lamina.tui.screens import layer_replay
from lamina.tui.widgets.map_pane import MapPane
from tests.corpus import unpack
from tests.live.harness import Reaper, start_c
from tests.tui.waiting import until


class Keys:
    """Presses keys and waits for what they lead to."""

    def __init__(self, app: LaminaApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.done = app, pilot, 0

    async def do(self, *keys: str) -> Job:
        """Press *keys*, the last of which makes the engine do something; wait until that is done."""
        await self.pilot.press(*keys)
        await until(lambda: len(self.app.journal.jobs) > self.done and self.app.journal.jobs[0].ended)
        self.done = len(self.app.journal.jobs)
        await until(lambda: self.app.type_ahead.settled)
        return self.app.journal.jobs[0]

    def type(self, text: object) -> None:
        """Fill the line that is asked for; letter by letter a path takes seconds."""
        self.app.screen.query_one(Input).value = str(text)

    async def dry_run(self, *keys: str) -> str:
        """As `do` for a dry run; wait for its dialog. Returns what that says."""
        job = await self.do(*keys)
        assert job.state == journal.DONE, job.outcome
        await until(lambda: isinstance(self.app.screen, Confirm) and self.app.focused is not None)
        assert self.app.focused is not None and self.app.focused.id == "answer-cancel"
        assert isinstance(self.app.screen, Confirm)
        return "\n".join(str(line) for line in self.app.screen._lines)

    async def to(self, name: str) -> None:
        """Put the cursor on the layer *name*."""
        await until(lambda: name in self.names())
        self.app.stack.go_to_layer(name)
        await self.pilot.pause()

    async def rows(self, wanted: Callable[[dict[str, LayerRow]], object]) -> dict[str, LayerRow]:
        """Wait until the list, by name, is as *wanted*; returns it."""
        await until(lambda: wanted(self.table()))
        return self.table()

    def table(self) -> dict[str, LayerRow]:
        stack = self.app.session.stack
        return {row.name: row for row in stack.rows} if stack else {}

    def cursor(self) -> str:
        row = self.app.stack.layer_row()
        return row.name if row is not None else ""

    def names(self) -> list[str]:
        return [row.name for row in self.app.stack._list.rows]


async def test_layers_of_a_program_are_shaped_by_keys(reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    stack = tmp_path / "shots"
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(110, 36)) as pilot:
        keys = Keys(app, pilot)
        app.reader.aim(victim.pid)
        await until(lambda: app.session.target)
        await pilot.press("3")
        answers = {}
        for name in "12345":
            assert (await keys.do("d")).state == journal.DONE
            answers[name] = victim.ask()
            victim.ask(f"write 40 {name}")
        await keys.rows(lambda rows: len(rows) == 5 and all(row.restorable for row in rows.values()))

        await verify_label_and_pin(keys, stack)
        await drop_and_undo(keys, stack)
        await squash_and_thin(keys, stack)

        await keys.to("3")
        await pilot.press("E", "enter")
        await until(lambda: isinstance(app.screen, Confirm))
        await keys.do("right", "enter")
        assert (tmp_path / "shots-3.tar.zst").is_file()
        await pilot.press("r")
        await until(lambda: app.focused is not None and app.focused.id == "answer-cancel")
        restored = await keys.do("right", "right", "enter")
        assert restored.state == journal.DONE, restored.outcome
    assert victim.ask() == answers["3"]
    assert check_chain(Layer(stack / "4"), contents=True) == []


async def verify_label_and_pin(keys: Keys, stack: Path) -> None:
    await keys.do("v")
    rows = await keys.rows(lambda rows: rows["5"].checked)
    assert rows["5"].checked is not None and rows["5"].checked.good and rows["5"].checked.sums
    assert keys.app.journal.jobs[0].command == f"lamina verify {stack}/5"
    await keys.to("4")
    await keys.do("l", *"try-2", "enter")
    await keys.to("2")
    await keys.do("P", *"keep", "enter")
    rows = await keys.rows(lambda rows: rows["2"].pinned)
    assert rows["4"].label == "try-2" and rows["2"].pin_reason == "keep"
    refused = await keys.do("delete")
    assert refused.state == journal.FAILED and "it is pinned (keep)" in refused.outcome
    await keys.do("P")
    await keys.rows(lambda rows: not rows["2"].pinned)


async def drop_and_undo(keys: Keys, stack: Path) -> None:
    await keys.to("4")
    assert "Layer 5 is based on it." in await keys.dry_run("delete")
    await keys.pilot.press("enter")
    assert "4" in keys.table(), "the safe answer comes first"
    await keys.dry_run("delete")
    dropped = await keys.do("right", "enter")
    assert dropped.command == f"lamina drop {stack}/4"
    await keys.rows(lambda rows: "4" not in rows and rows["5"].parent == stack / "3" and rows["5"].restorable)
    assert keys.names() == ["5", "3", "2", "1", "4"], "what is in the trash stands below"
    assert keys.cursor() == "3"
    await keys.do("z")
    await keys.rows(lambda rows: "4" in rows and rows["4"].parent == stack / "3" and rows["4"].restorable)
    assert keys.cursor() == "4"


async def squash_and_thin(keys: Keys, stack: Path) -> None:
    await keys.to("3")
    await keys.pilot.press("s")
    await until(lambda: isinstance(keys.app.screen, ChooseLayer))
    assert "Only 3 stays of 2 to 3" in await keys.dry_run("enter")
    await keys.do("right", "enter")
    rows = await keys.rows(lambda rows: "2" not in rows and all(row.restorable for row in rows.values()))
    assert rows["3"].parent == stack / "1" and rows["3"].squashed == 1
    await keys.to("5")
    said = await keys.dry_run("x")
    assert "Dry run: frees" in said and "Layers 3, 1 are no longer restorable" in said and "Lossless: frees" in said
    thinned = await keys.do("right", "enter")
    assert thinned.command == f"lamina dedup --lossless {stack}/5"
    await keys.rows(lambda rows: all(row.restorable for row in rows.values()))


async def test_a_stack_of_criu_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_replay, "STEP_S", 0.05)
    painted: list[str] = []

    def show(pane: MapPane, what: str, space: AddressSpace) -> None:
        painted.append(what.partition(",")[0][-1:])
        paint(pane, what, space)

    paint = MapPane.show
    monkeypatch.setattr(MapPane, "show", show)
    stack = unpack("criu-3.17.1/three", tmp_path)
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(80, 24)) as pilot:
        keys = Keys(app, pilot)
        await until(lambda: app.screen is app.stack and app.stack._strip.memory)
        rows = await keys.rows(lambda rows: len(rows) == 3 and all(row.restorable for row in rows.values()))
        assert rows["3"].foreign and rows["3"].program == "pair" and rows["3"].frozen_us
        await keys.do("v")
        rows = await keys.rows(lambda rows: rows["3"].checked)
        assert rows["3"].checked is not None and not rows["3"].checked.sums

        await keys.do("V")
        await keys.rows(lambda rows: all(row.checked for row in rows.values()))

        # 4 leads into the layer under the cursor, whichever was looked at before.
        for layer in (stack / "2", stack / "3"):
            await keys.to(layer.name)
            await pilot.press("4")
            await until(lambda: app.current_mode == "image" and app.image.source)
            assert app.image.source is not None and app.image.source.layer == layer
            await pilot.press("3")
            await until(lambda: app.current_mode == "stack")

        painted.clear()
        await pilot.press("greater_than_sign")
        await until(lambda: not app.stack._replay.running)
        assert painted == ["1", "2", "3"]

        await keys.to("2")
        await keys.dry_run("delete")
        await keys.do("right", "enter")
        await keys.rows(lambda rows: list(rows) == ["3", "1"] and rows["3"].restorable)
        await keys.do("z")
        await keys.rows(lambda rows: list(rows) == ["3", "2", "1"])

        (stack / "1").rename(stack / "first")
        app.reader.read_stack()
        rows = await keys.rows(lambda rows: "first" in rows and rows["3"].unlinked)
        assert not rows["3"].restorable and "its parent ../1 is not there" in rows["3"].why
        await keys.to("3")
        several = await keys.do("R", "enter")
        assert several.state == journal.FAILED and "several layers could be its parent" in several.outcome
        await pilot.press("R")
        keys.type(stack / "first")
        await keys.dry_run("enter")
        await keys.do("right", "enter")
        rows = await keys.rows(lambda rows: rows["3"].restorable)
        assert rows["3"].parent == stack / "first"


async def test_a_stack_is_packed_compressed_and_pruned_and_its_archive_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stack = unpack("lamina-0.1/three", tmp_path)
    archive = tmp_path / "three.tar.zst"
    app = LaminaApp(Session(stack))
    async with app.run_test(size=(110, 36)) as pilot:
        keys = Keys(app, pilot)
        await until(lambda: app.stack._strip.memory)
        await keys.to("3")
        await pilot.press("E")
        keys.type(archive)
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Confirm))
        await keys.do("right", "enter")
        await keys.dry_run("K")
        await keys.do("right", "enter")
        rows = await keys.rows(lambda rows: rows["3"].compressed)
        assert not rows["3"].restorable and rows["3"].whole
        await keys.dry_run("K")
        await keys.do("right", "enter")
        await keys.rows(lambda rows: rows["3"].restorable)
        await pilot.press("D", "1")
        assert "2 goes" in await keys.dry_run("enter")
        await keys.do("right", "enter")
        await keys.rows(lambda rows: list(rows) == ["3"] and rows["3"].restorable)
        await pilot.press("D")
        app.screen.query_one("#answer-empty", Button).press()
        assert "of the trash go for good" in await keys.dry_run()
        await keys.do("tab", "enter")
        await until(lambda: app.session.stack and not app.session.stack.trash)
    app = LaminaApp(Session(archive))
    async with app.run_test(size=(110, 36)) as pilot:
        keys = Keys(app, pilot)
        await until(lambda: app.screen is app.stack and app.stack._strip.memory)
        rows = await keys.rows(lambda rows: len(rows) == 3)
        assert list(rows) == ["3", "2", "1"] and all(row.archived and not row.restorable and row.whole for row in rows.values())
        await pilot.press("I")
        await keys.dry_run("enter")
        await keys.do("right", "enter")
        rows = await keys.rows(lambda rows: len(rows) == 3 and all(row.restorable for row in rows.values()))
        assert app.session.stack_dir == tmp_path / "three"
