"""Where the next layer goes and what it stands on."""

from pathlib import Path

import pytest

from lamina.core.dump.next_layer import drop_if_empty, make_layer_dir, next_layer, relative_parent, request_for
from lamina.core.errors import ImageError


def test_layers_are_numbered_on_from_the_highest(tmp_path: Path) -> None:
    stack = tmp_path / "s"
    assert next_layer(stack).name == "1"
    assert make_layer_dir(stack).name == "1"
    (stack / "7").mkdir()
    (stack / "after-import").mkdir()
    made = make_layer_dir(stack)
    assert made.name == "8"
    assert made.stat().st_mode & 0o777 == 0o700
    assert stack.stat().st_mode & 0o777 == 0o700


def test_a_stack_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot dump into .*/file: it is a file"):
        make_layer_dir(tmp_path / "file")
    with pytest.raises(ImageError, match="cannot write layer .*/file/stack: not a directory"):
        make_layer_dir(tmp_path / "file" / "stack")


def test_only_an_empty_directory_is_taken_back(tmp_path: Path) -> None:
    empty, full = tmp_path / "1", tmp_path / "2"
    empty.mkdir()
    full.mkdir()
    (full / "inventory.img").touch()
    drop_if_empty(empty)
    drop_if_empty(full)
    assert not empty.exists()
    assert full.exists()


def test_the_parent_is_named_as_seen_from_the_layer() -> None:
    assert relative_parent(Path("/s/3"), Path("/s/1")) == "../1"


def test_a_layer_of_another_stack_is_no_parent(tmp_path: Path) -> None:
    layer = tmp_path / "s" / "4"
    assert request_for(4711, layer, tmp_path / "s" / "3").prev_images_dir == "../3"
    assert request_for(4711, layer, tmp_path / "t" / "3").prev_images_dir is None
    assert request_for(4711, layer, None).prev_images_dir is None


def test_only_the_last_dump_ends_the_tree() -> None:
    first, last = (request_for(4711, Path("/s/1"), None, last=last) for last in (False, True))
    assert (first.leave_running, first.track_mem) == (True, True)
    assert (last.leave_running, last.track_mem) == (False, False)
