"""How the screens look, on stacks that never change: those of the corpus. CONTRIBUTING.md says how the pictures are made anew."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.types import SerializableData, SerializedData
from textual.pilot import Pilot

from lamina.core.image.storage.base import FileInfo
from lamina.core.image.storage.directory import DirectoryStorage
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.screens.help_screen import HelpScreen
from tests.corpus import unpack
from tests.tui.svg_cells import cells, differences, draw
from tests.tui.waiting import until

_PLACE = "lamina-for-the-pictures-"
# Some days after the layers of the corpus were made.
NOW = 1_795_500_000.0


class Pictures(SingleFileSnapshotExtension):
    """Snapshots in files of their own, compared by what they show."""

    file_extension = "svg"
    _file_extension = "svg"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: SerializableData, **options: Any) -> SerializedData:
        """Only what is seen, so that the file is small and another one only if that is."""
        return draw(cells(str(data)))

    def matches(self, *, serialized_data: object, snapshot_data: object) -> bool:
        """Whether both show the same."""
        return not list(differences(str(snapshot_data), str(serialized_data)))

    def diff_lines(self, serialized_data: object, snapshot_data: object) -> Iterator[str]:
        """What a failed test prints."""
        return differences(str(snapshot_data), str(serialized_data))


@pytest.fixture(autouse=True)
def nothing_of_this_machine(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock, the zone, the home directory, and what a disk says of blocks are the same everywhere."""
    info = DirectoryStorage.info

    def full_blocks(place: DirectoryStorage, name: str) -> FileInfo | None:
        found = info(place, name)
        return replace(found, disk_bytes=-(-found.size // 4096) * 4096) if found is not None else None

    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(DirectoryStorage, "info", full_blocks)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 39, 1 << 39))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is as long everywhere; long enough to be shortened where there is little room."""
    with tempfile.TemporaryDirectory(prefix=_PLACE, dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Pictures)


@dataclass
class Shown:
    """A stack of the corpus in an app, and the pictures its screens are to be like."""

    app: LaminaApp
    pilot: Pilot[None]
    place: Path
    picture: SnapshotAssertion

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def looks(self, name: str, ready: Callable[[], object]) -> None:
        """Once it is *ready*, the screen looks as in the picture *name*."""
        await until(ready)
        await self.pilot.pause()
        self.app.clear_notifications()
        await self.pilot.pause()
        shown = self.app.export_screenshot().replace(self.place.name, _PLACE + 8 * "x")
        assert shown == self.picture(name=name)


@asynccontextmanager
async def shown(name: str, place: Path, theme: str, size: tuple[int, int], picture: SnapshotAssertion) -> AsyncIterator[Shown]:
    """The stack *name* of the corpus, its newest layer under the cursor."""
    unpack(name, place).rename(place / "shots")
    app = LaminaApp(Session(place / "shots"))
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        await pilot.press("3")
        await until(lambda: "as of layer" in str(app.stack._strip.border_title))
        yield Shown(app, pilot, place, picture)


async def test_layers_of_lamina_dark(place: Path, picture: SnapshotAssertion) -> None:
    async with shown("lamina-0.1/three", place, "lamina", (110, 36), picture) as it:
        app = it.app
        await it.press("down", "l", *"before the writes", "enter")
        await until(lambda: app.journal.jobs and app.journal.jobs[0].state == "ok")
        await it.looks("stack", lambda: app.session.stack and app.session.stack.rows[1].label)
        await it.press("m", "up", "m")
        await it.looks(
            "diff", lambda: app.current_mode == "diff" and app.diff._view and not app.diff._view.by_map and app.diff._pages.pages
        )
        await it.press("3", "enter", "a", *"4d2340", "enter")
        await it.looks("image", lambda: app.image._hex.address == 0x4D2340)
        await it.press("5")
        await it.looks("jobs", lambda: app.current_mode == "jobs")


async def test_layers_of_criu_light(place: Path, picture: SnapshotAssertion) -> None:
    async with shown("criu-3.17.1/three", place, "lamina-light", (80, 24), picture) as it:
        app = it.app
        await it.looks("stack", lambda: True)
        await it.press("enter")
        await it.looks("image", lambda: app.image._hex.under_cursor)
        await it.press("question_mark")
        await it.looks("help", lambda: isinstance(app.screen, HelpScreen))


async def test_a_screen_that_was_behind_wears_the_new_theme(place: Path, picture: SnapshotAssertion) -> None:
    async with shown("lamina-0.1/three", place, "lamina", (80, 24), picture) as it:
        app = it.app
        await it.press("1")
        await until(lambda: app.processes._list.rows)
        app.theme = "lamina-light"
        await it.pilot.pause()
        await it.press("3")
        await it.pilot.pause()
        behind = app.export_screenshot()
        app.theme = "lamina"
        await it.pilot.pause()
        assert list(differences(behind, app.export_screenshot()))
        app.theme = "lamina-light"
        await it.pilot.pause()
        assert not list(differences(behind, app.export_screenshot()))
