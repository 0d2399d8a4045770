"""diff and owners of image sets that criu and lamina wrote: from directories, from an archive and compressed, all the same."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from lamina.core.archive.compress import compress
from lamina.core.image.layer import Layer
from lamina.core.inspect.diff import Difference, diff, read_pair
from lamina.core.inspect.diff.layer_side import LayerSide
from lamina.core.inspect.ownership import ownership, strips
from tests.corpus import unpack

SETS = ("same", "changed", "maybe", "added", "gone", "unreadable")


def flat(found: Difference) -> dict[Any, Any]:
    """All that must not depend on where a layer lies."""
    return {
        "tasks": found.tasks, "descriptors": found.descriptors, "areas": found.areas,
        "memory": {it.which: [getattr(it.pages, name) for name in SETS] + [it.areas] for it in found.memory},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["criu-3.17.1/three", "lamina-0.1/three"])
def test_three_layers_of_one_program(name: str, tmp_path: Path) -> None:
    stack = unpack(name, tmp_path)
    first, second, third = (Layer(stack / each) for each in "123")
    found = diff(first, third)
    assert not found.tasks.added and not found.tasks.gone and not found.areas
    pages = found.memory[0].pages
    assert pages.same and pages.changed and not pages.unreadable and not pages.maybe
    by_map = diff(first, third, contents=False).memory[0].pages
    assert pages.same.covers(by_map.same)
    assert by_map.maybe.covers(pages.changed)
    same = diff(second, Layer(stack / "2"))
    assert not same.differs and same.memory[0].pages.same == second.pagemap(second.pids[0]).all
    owners = ownership(third, third.pids[0])
    assert {it.layer.name for it in owners.owners} <= {"1", "2", "3"} and strips(third, owners)


@pytest.mark.parametrize("name", ["criu-3.17.1/three", "lamina-0.1/three"])
def test_in_an_archive_and_compressed_it_is_the_same(name: str, tmp_path: Path) -> None:
    stack = unpack(name, tmp_path)
    expected = flat(diff(Layer(stack / "1"), Layer(stack / "3")))
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for each in "123":
            archive.add(stack / each, each)
    packed = tmp_path / "all.tar"
    assert flat(diff(Layer(packed / "1"), Layer(packed / "3"))) == expected
    assert flat(diff(Layer(stack / "1"), Layer(packed / "3"))) == expected
    compress(Layer(stack / "1"))
    assert flat(diff(Layer(stack / "1"), Layer(stack / "3"))) == expected


def test_shared_objects_and_pre_dumps(tmp_path: Path) -> None:
    stack = unpack("criu-3.17.1/kinds", tmp_path)
    found = diff(Layer(stack / "full"), Layer(stack / "last"))
    shared = [it.which for it in found.memory if isinstance(it.which, str)]
    assert len(shared) == 2 and not found.shared_added and not found.shared_gone
    found = diff(Layer(stack / "pre"), Layer(stack / "last"))
    assert not found.tasks.changed and not found.descriptors and not found.areas and "pre-dump" in found.notes[0]
    assert found.memory and all(it.pages.same for it in found.memory if isinstance(it.which, int))


def test_what_criu_dedup_punched_is_unreadable(tmp_path: Path) -> None:
    stack = unpack("criu-3.17.1/deduped", tmp_path)
    found = diff(Layer(stack / "pre"), Layer(stack / "last"))
    assert any(it.pages.unreadable for it in found.memory)
    marked = strips(Layer(stack / "pre"), ownership(Layer(stack / "pre"), Layer(stack / "pre").pids[0]))
    assert any("!" in it.strip for it in marked)


def test_a_changed_page_on_both_sides(tmp_path: Path) -> None:
    stack = unpack("lamina-0.1/three", tmp_path)
    sides = LayerSide(Layer(stack / "1")), LayerSide(Layer(stack / "3"))
    changed = diff(Layer(stack / "1"), Layer(stack / "3")).memory[0]
    at = int(changed.pages.changed.starts[0])
    pair = read_pair(*sides, at + 100)
    assert pair.address == at and pair.which == changed.which and pair.a and pair.b and pair.a != pair.b
    same = int(changed.pages.same.starts[0])
    pair = read_pair(*sides, same)
    assert pair.a == pair.b is not None
