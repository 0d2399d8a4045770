"""Where layers go."""

from pathlib import Path

import pytest

from lamina.core.attach.identity import Identity
from lamina.tui import places

WHO = Identity(4711, 88213, "boot")


def test_each_process_has_a_stack_of_its_own_under_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert places.default_stack("redis-server", WHO) == tmp_path / "lamina" / "stacks" / "redis-server-4711-88213"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "\udcff\n", "x y;z"])
def test_a_hostile_name_stays_one_plain_directory(name: str) -> None:
    path = places.default_stack(name, WHO)
    assert path.parent == places.stacks_root()
    assert path.name.isascii()
    assert not path.name.startswith(".")


def test_layers_are_numbered_on_from_the_highest(tmp_path: Path) -> None:
    stack = tmp_path / "s"
    assert places.next_layer(stack).name == "1"
    assert places.make_layer_dir(stack).name == "1"
    (stack / "7").mkdir()
    (stack / "after-import").mkdir()
    made = places.make_layer_dir(stack)
    assert made.name == "8"
    assert made.stat().st_mode & 0o777 == 0o700
    assert stack.stat().st_mode & 0o777 == 0o700


def test_only_an_empty_directory_is_taken_back(tmp_path: Path) -> None:
    empty, full = tmp_path / "1", tmp_path / "2"
    empty.mkdir()
    full.mkdir()
    (full / "inventory.img").touch()
    places.drop_if_empty(empty)
    places.drop_if_empty(full)
    assert not empty.exists()
    assert full.exists()


def test_the_parent_is_named_as_seen_from_the_layer() -> None:
    assert places.relative_parent(Path("/s/3"), Path("/s/1")) == "../1"


def test_free_space_is_known_before_the_directory_is_made(tmp_path: Path) -> None:
    assert places.free_bytes(tmp_path / "not" / "yet") > 0


def test_long_paths_lose_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".local/state/lamina/stacks/redis-server-4711-88213"
    assert places.short_path(path, 80) == "~/.local/state/lamina/stacks/redis-server-4711-88213"
    assert places.short_path(path, 30) == "…/redis-server-4711-88213"
