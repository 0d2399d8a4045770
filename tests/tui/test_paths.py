"""Where layers go."""

from pathlib import Path

import pytest

from lamina.core.attach.identity import Identity
from lamina.tui import paths

WHO = Identity(4711, 88213, "boot")


def test_each_process_has_a_stack_of_its_own_under_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert paths.default_stack("redis-server", WHO) == tmp_path / "lamina" / "stacks" / "redis-server-4711-88213"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "\udcff\n", "x y;z"])
def test_a_hostile_name_stays_one_plain_directory(name: str) -> None:
    path = paths.default_stack(name, WHO)
    assert path.parent == paths.stacks_root()
    assert path.name.isascii()
    assert not path.name.startswith(".")


def test_free_space_is_known_before_the_directory_is_made(tmp_path: Path) -> None:
    assert paths.free_bytes(tmp_path / "not" / "yet") > 0


def test_long_paths_lose_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".local/state/lamina/stacks/redis-server-4711-88213"
    assert paths.short_path(path, 80) == "~/.local/state/lamina/stacks/redis-server-4711-88213"
    assert paths.short_path(path, 30) == "…/redis-server-4711-88213"
