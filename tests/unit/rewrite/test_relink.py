"""The link of a layer that was moved or renamed: the right parent is found, or nothing is changed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.errors import BusyError, ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.lock import locked
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.rewrite.relink import NEW_LINK, apply_relink, plan_relink
from lamina.core.verify import check_chain
from tests.corpus import unpack
from tests.unit.image.layers import Spec, make


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """1 ← 2 ← 3 and a branch 1 ← 4, with the ids that a dump writes."""
    path = tmp_path / "S"
    made: dict[str, Layer] = {}
    for name, parent, own in (("1", None, {1, 2, 3}), ("2", "1", {1, 5}), ("3", "2", {5}), ("4", "1", {3})):
        inherited = {1, 2, 3, 5} - own - (set() if name == "3" else {5}) if parent else set()
        made[name] = make(path, name, Spec({7: own}, {7: inherited}), parent, tag=int(name))
        sidecar = made[name].sidecar
        assert sidecar
        above = made[parent].sidecar if parent else None
        replace(sidecar, parent_id=above.layer_id if above else None).store(made[name].directory)
    return path


def forget(stack: Path) -> None:
    """As CRIU would have left them: no sidecars; times that say the order."""
    for at, layer in enumerate(sorted(stack.iterdir())):
        (layer / SIDECAR).unlink()
        os.utime(layer / "inventory.img", (1_700_000_000 + at, 1_700_000_000 + at))


def link(layer: Path) -> str:
    return os.readlink(layer / "parent")


def test_a_renamed_parent_is_known_by_its_id(stack: Path) -> None:
    (stack / "2").rename(stack / "two")
    plan = plan_relink(Layer(stack / "3"))
    assert (plan.parent.name, plan.link, plan.before, plan.needed) == ("two", "../two", "../2", True)
    assert "has the id" in plan.because
    assert link(stack / "3") == "../2"
    apply_relink(plan)
    assert link(stack / "3") == "../two"
    assert not os.path.lexists(stack / "3" / NEW_LINK)
    assert check_chain(Layer(stack / "3"), contents=True) == []


def test_another_layer_that_took_the_name_is_not_believed(stack: Path) -> None:
    (stack / "2").rename(stack / "two")
    shutil.copytree(stack / "4", stack / "2", symlinks=True)
    assert plan_relink(Layer(stack / "3")).parent.name == "two"
    with pytest.raises(ImageError, match="2 is not its parent: it has the id"):
        plan_relink(Layer(stack / "3"), to=stack / "2")


def test_moved_elsewhere(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (stack / "2").rename(tmp_path / "away" / "2")
    with pytest.raises(ImageError, match=r"is not among the 2 layers in .*/S \(name the directory it was moved to: --search DIR\)"):
        plan_relink(Layer(stack / "3"))
    for where in (tmp_path / "away", tmp_path / "away" / "2"):
        plan = plan_relink(Layer(stack / "3"), search=[where])
        assert plan.link == "../../away/2"
        assert "away/2: its parent ../1 is not there" in plan.still  # what was moved lost its own parent
    plan = plan_relink(Layer(tmp_path / "away" / "2"), search=[stack])
    assert (plan.link, plan.parent.name) == ("../../S/1", "1")
    apply_relink(plan)
    apply_relink(plan_relink(Layer(stack / "3"), search=[tmp_path / "away"]))
    assert link(stack / "3") == "../../away/2"
    assert check_chain(Layer(stack / "3"), contents=True) == []


def test_a_link_that_is_right_stays(stack: Path) -> None:
    plan = plan_relink(Layer(stack / "3"))
    assert not plan.needed
    (stack / "3" / "parent").unlink()
    (stack / "3" / "parent").symlink_to(stack / "2")
    assert not plan_relink(Layer(stack / "3")).needed


def test_a_link_that_is_gone_is_made_again(stack: Path) -> None:
    (stack / "3" / "parent").unlink()
    plan = plan_relink(Layer(stack / "3"))
    assert (plan.before, plan.link) == (None, "../2")
    apply_relink(plan)
    assert check_chain(Layer(stack / "3"), contents=True) == []


def test_a_link_that_is_right_and_one_above_it_that_is_not(stack: Path) -> None:
    (stack / "1").rename(stack / "one")
    plan = plan_relink(Layer(stack / "3"))
    assert not plan.needed and f"lamina relink {stack}/2" in plan.still
    for name in "24":
        apply_relink(plan_relink(Layer(stack / name)))
    assert plan_relink(Layer(stack / "3")).still == ""


def test_a_full_layer_needs_none(stack: Path) -> None:
    with pytest.raises(ImageError, match="it is a full layer"):
        plan_relink(Layer(stack / "1"))


def test_no_circle_comes_of_it(stack: Path) -> None:
    with pytest.raises(ImageError, match="3 is not its parent: it depends on 2 itself"):
        plan_relink(Layer(stack / "2"), to=stack / "3")
    with pytest.raises(ImageError, match="it is the layer itself"):
        plan_relink(Layer(stack / "2"), to=stack / "2")


def test_a_parent_that_lacks_pages_is_refused(stack: Path) -> None:
    forget(stack)
    make(stack, "5", Spec({7: {9}}), tag=5)
    with pytest.raises(ImageError, match=r"5 is not its parent: pagemap-7.img: 3 pages it inherits are not in pagemap-7.img of 5"):
        plan_relink(Layer(stack / "3"), to=stack / "5")


def test_without_ids_only_one_may_fit(stack: Path) -> None:
    forget(stack)
    shutil.rmtree(stack / "4")
    (stack / "1").rename(stack / "one")
    plan = plan_relink(Layer(stack / "2"))  # 3 is its child, so only one is left
    assert (plan.parent.name, plan.because) == ("one", "it was dumped before and has every page that is inherited")
    apply_relink(plan)
    (stack / "2").rename(stack / "two")
    with pytest.raises(ImageError, match=r"several layers could be its parent: one, two .*lamina relink .*/3 --to .*/two"):
        plan_relink(Layer(stack / "3"))
    apply_relink(plan_relink(Layer(stack / "3"), to=stack / "two"))
    assert link(stack / "3") == "../two"


def test_without_ids_the_name_in_the_old_link_decides(stack: Path, tmp_path: Path) -> None:
    forget(stack)
    for name, parent in (("2", "1"), ("3", "2"), ("4", "1")):
        (stack / name / "parent").unlink()
        (stack / name / "parent").symlink_to(f"/somewhere/else/S/{parent}")
    for name in ("2", "3", "4"):
        apply_relink(plan_relink(Layer(stack / name)))
    assert [link(stack / name) for name in "234"] == ["../1", "../2", "../1"]


def test_what_was_dumped_later_is_no_parent(stack: Path) -> None:
    forget(stack)
    (stack / "1").rename(stack / "one")
    os.utime(stack / "one" / "inventory.img", (1_800_000_000, 1_800_000_000))
    with pytest.raises(ImageError, match="no layer in .* was dumped before it and has every page"):
        plan_relink(Layer(stack / "2"))


def test_a_stack_of_criu(tmp_path: Path) -> None:
    stack = unpack("criu-3.17.1/three", tmp_path)
    (stack / "1").rename(stack / "first")
    plan = plan_relink(Layer(stack / "2"))
    assert plan.link == "../first"
    apply_relink(plan)
    assert [check_chain(Layer(stack / name), contents=True) for name in ("first", "2", "3")] == [[], [], []]


def test_one_writer_at_a_time(stack: Path) -> None:
    (stack / "2").rename(stack / "two")
    plan = plan_relink(Layer(stack / "3"))
    with locked(stack), pytest.raises(BusyError):
        apply_relink(plan)
    assert link(stack / "3") == "../2"


def test_what_changed_since_the_plan_is_not_linked(stack: Path) -> None:
    (stack / "2").rename(stack / "two")
    plan = plan_relink(Layer(stack / "3"))
    shutil.rmtree(stack / "two")
    shutil.copytree(stack / "4", stack / "two", symlinks=True)
    with pytest.raises(ImageError, match="is not its parent any more"):
        apply_relink(plan)
    assert link(stack / "3") == "../2"
    assert not os.path.lexists(stack / "3" / NEW_LINK)
