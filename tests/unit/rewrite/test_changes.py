"""Drop, squash, undo and the trash: every layer that stays resolves as before, and what goes can come back."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, Cancelled, ImageError
from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import sweep_stack
from lamina.core.image.lock import shared
from lamina.core.image.renames import relink
from lamina.core.image.stack import Stack
from lamina.core.rewrite.drop import plan_drop
from lamina.core.rewrite.marks import label, pin, unpin
from lamina.core.rewrite.plan import apply
from lamina.core.rewrite.squash import plan_squash
from lamina.core.rewrite.undo import entry_name, plan_empty, plan_undo
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make, runs
from tests.unit.rewrite.memories import leftovers, memories, memory_of


def chain_of(stack: Path, count: int = 5) -> list[Layer]:
    """1 ← 2 ← …: each has a page of its own, rewrites page 0, and inherits the rest."""
    layers = [make(stack, "1", Spec({7: {0, 1, 20}, 8: {3}}), tag=1)]
    for number in range(2, count + 1):
        inherited = {7: {*range(1, number), 20}, 8: {3}}
        layers.append(make(stack, str(number), Spec({7: {0, number}}, inherited), str(number - 1), tag=number))
    return layers


def names(stack: Path) -> tuple[list[str], list[str]]:
    """(layers, dropped layers)."""
    found = Stack.open(stack)
    assert found.unreadable == ()
    return sorted(layer.name for layer in found.layers), sorted(entry_name(layer) for layer in found.trashed)


def whole(stack: Path) -> None:
    """Everything, the trash included, can be restored, and nothing lies around."""
    found = Stack.open(stack)
    for layer in (*found.layers, *found.trashed):
        assert check_chain(Layer(layer.path), contents=True) == []
    assert leftovers(stack) == []


def drop(stack: Path, *which: str) -> None:
    apply(plan_drop([Layer(stack / name) for name in which]))


def test_drop(tmp_path: Path) -> None:
    chain_of(tmp_path)
    before = memories(tmp_path)
    plan = plan_drop([Layer(tmp_path / "2")])
    assert [it.layer.name for it in plan.rewritings] == ["3"] and plan.pages == 1
    assert memories(tmp_path) == before, "a plan changes nothing"
    apply(plan)
    assert names(tmp_path) == (["1", "3", "4", "5"], ["2"])
    assert Layer(tmp_path / "3").parent_link == "../1"
    assert Layer(tmp_path / "3").pagemap(7).present == runs({0, 2, 3})
    after = memories(tmp_path)
    assert after.pop(".lamina-trash.2") == before.pop("2") and after == before
    whole(tmp_path)


def test_drop_of_the_full_layer_and_of_the_last(tmp_path: Path) -> None:
    chain_of(tmp_path)
    before = memories(tmp_path)
    drop(tmp_path, "1")
    drop(tmp_path, "5")
    assert names(tmp_path) == (["2", "3", "4"], ["1", "5"])
    assert Layer(tmp_path / "2").parent_link is None
    assert all(memories(tmp_path)[name] == before[name] for name in "234")
    whole(tmp_path)


def test_drop_of_several_rewrites_each_layer_once(tmp_path: Path) -> None:
    chain_of(tmp_path, 9)
    make(tmp_path, "3b", Spec({7: {0}}, {7: {1, 2, 3, 20}}), "3", tag=50)
    before = memories(tmp_path)
    plan = plan_drop([Layer(tmp_path / name) for name in "1234678"])
    assert sorted(it.layer.name for it in plan.rewritings) == ["3b", "5", "9"]
    apply(plan)
    assert names(tmp_path) == (["3b", "5", "9"], ["1", "2", "3", "4", "6", "7", "8"])
    assert [Layer(tmp_path / name).parent_link for name in ("3b", "5", "9")] == [None, None, "../5"]
    assert all(memories(tmp_path)[name] == before[name] for name in ("3b", "5", "9"))
    whole(tmp_path)
    # In the trash nothing was copied: dropped layers stand on dropped layers.
    assert Layer(tmp_path / ".lamina-trash.4").parent_link == "../.lamina-trash.3"
    for name in ("1", "2", "3", "4", "6", "7", "8"):
        apply(plan_undo(tmp_path))
        assert (tmp_path / name).is_dir(), "the newest comes back first, and it is the one that needs no other"
    after = memories(tmp_path)
    assert after == before
    whole(tmp_path)


def test_a_follower_in_the_trash_is_relinked(tmp_path: Path) -> None:
    chain_of(tmp_path)
    before = memories(tmp_path)
    drop(tmp_path, "5")
    drop(tmp_path, "4")
    assert Layer(tmp_path / ".lamina-trash.5").parent_link == "../.lamina-trash.4"
    whole(tmp_path)
    apply(plan_undo(tmp_path, "4"))
    assert Layer(tmp_path / ".lamina-trash.5").parent_link == "../4"
    apply(plan_undo(tmp_path, "5"))
    assert memories(tmp_path) == before
    whole(tmp_path)


def test_undo_of_one_whose_parent_is_in_the_trash(tmp_path: Path) -> None:
    chain_of(tmp_path)
    before = memories(tmp_path)
    drop(tmp_path, "3")
    drop(tmp_path, "2")
    apply(plan_undo(tmp_path, "3", "three"))
    back = Layer(tmp_path / "three")
    assert back.parent_link == "../1" and memory_of(back) == before["3"]
    assert back.sidecar and (back.sidecar.dropped, back.sidecar.dropped_name) == (0.0, "")
    whole(tmp_path)


def test_undo_refusals(tmp_path: Path) -> None:
    chain_of(tmp_path)
    with pytest.raises(ImageError, match="holds nothing"):
        plan_undo(tmp_path)
    drop(tmp_path, "5")
    make(tmp_path, "5", Spec({7: {0}}), tag=60)
    with pytest.raises(ImageError, match=r"there is .*/5 already \(choose another name with --as NAME\)"):
        plan_undo(tmp_path)
    with pytest.raises(ImageError, match="no name for a layer"):
        plan_undo(tmp_path, "5", "../5")
    with pytest.raises(ImageError, match="holds 5"):
        plan_undo(tmp_path, "4")
    drop(tmp_path, "5")
    assert names(tmp_path)[1] == ["5", "5~2"]
    apply(plan_undo(tmp_path, "5~2"))
    assert Layer(tmp_path / "5").parent_link is None, "the second one"
    apply(plan_undo(tmp_path, "5", "old"))
    assert Layer(tmp_path / "old").parent_link == "../4"
    whole(tmp_path)


def test_emptying(tmp_path: Path) -> None:
    chain_of(tmp_path)
    before = memories(tmp_path)
    drop(tmp_path, "4", "3", "2")
    plan = plan_empty(tmp_path, "2")
    assert [it.layer.name for it in plan.rewritings] == [".lamina-trash.3"], "what stays in the trash takes what it needs"
    apply(plan)
    assert names(tmp_path) == (["1", "5"], ["3", "4"])
    whole(tmp_path)
    apply(plan_undo(tmp_path, "4"))
    assert memories(tmp_path)["4"] == before["4"]
    plan = plan_empty(tmp_path)
    assert plan.bytes_freed > 0 and not plan.rewritings
    apply(plan)
    assert names(tmp_path) == (["1", "4", "5"], [])
    whole(tmp_path)


def test_squash(tmp_path: Path) -> None:
    chain_of(tmp_path, 6)
    before = memories(tmp_path)
    plan = plan_squash(Layer(tmp_path / "2"), Layer(tmp_path / "5"))
    apply(plan)
    assert names(tmp_path) == (["1", "5", "6"], ["2", "3", "4"])
    squashed = Layer(tmp_path / "5")
    assert squashed.parent_link == "../1" and squashed.pagemap(7).present == runs({0, 2, 3, 4, 5})
    assert all(memories(tmp_path)[name] == before[name] for name in "156")
    whole(tmp_path)
    apply(plan_squash(Layer(tmp_path / "1"), Layer(tmp_path / "6")))
    assert Layer(tmp_path / "6").parent_link is None and memories(tmp_path)["6"] == before["6"]
    whole(tmp_path)


def test_squash_keeps_branches_and_what_they_need(tmp_path: Path) -> None:
    chain_of(tmp_path, 6)
    make(tmp_path, "4b", Spec({7: {0}}, {7: {1, 2, 20}}), "4", tag=40)
    make(tmp_path, "3b", Spec({7: {5}}, {7: {0}}), "3", tag=41)
    before = memories(tmp_path)
    plan = plan_squash(Layer(tmp_path / "2"), Layer(tmp_path / "6"))
    # 4 and 3 have children of their own, and 4 needs page 2 of 2; nothing needs 5.
    assert sorted(layer.name for layer in plan.kept) == ["2", "3", "4"]
    apply(plan)
    assert names(tmp_path) == (["1", "2", "3", "3b", "4", "4b", "6"], ["5"])
    assert Layer(tmp_path / "6").parent_link == "../1"
    after = memories(tmp_path)
    assert {name: after[name] for name in names(tmp_path)[0]} == {name: before[name] for name in names(tmp_path)[0]}
    whole(tmp_path)


def test_squash_refusals(tmp_path: Path) -> None:
    layers = chain_of(tmp_path)
    other = make(tmp_path, "x", Spec({7: {0}}))
    with pytest.raises(ImageError, match="4 is no ancestor of 2"):
        plan_squash(layers[3], layers[1])
    with pytest.raises(ImageError, match="x is no ancestor of 2"):
        plan_squash(other, layers[1])
    with pytest.raises(ImageError, match="the same layer"):
        plan_squash(layers[1], layers[1])


def test_pins(tmp_path: Path) -> None:
    layers = chain_of(tmp_path)
    pin(layers[1], "works")
    with pytest.raises(ImageError, match=r"2: it is pinned \(works\) \(lamina unpin "):
        plan_drop([layers[1]])
    with pytest.raises(ImageError, match="it is pinned"):
        plan_squash(layers[0], layers[4])
    drop(tmp_path, "3")
    assert Layer(tmp_path / "2").sidecar == replace(pin(layers[1], "works"))
    unpin(layers[1])
    drop(tmp_path, "2")
    whole(tmp_path)


def test_labels(tmp_path: Path) -> None:
    layers = chain_of(tmp_path)
    label(layers[1], "before lunch")
    assert Stack.open(tmp_path).find("before lunch").name == "2"
    with pytest.raises(ImageError, match="2 is called before lunch already"):
        label(layers[2], "before lunch")
    with pytest.raises(ImageError, match="/1 is called 1 already"):
        label(layers[2], "1")
    with pytest.raises(ImageError, match="printable"):
        label(layers[2], "a\nb")
    label(layers[1], "before lunch")
    label(layers[1], "")
    label(layers[2], "before lunch")


def test_a_stack_that_is_read_is_left_alone(tmp_path: Path) -> None:
    chain_of(tmp_path)
    plan = plan_drop([Layer(tmp_path / "2")])
    with shared([tmp_path], "cannot restore from"):
        for act in (lambda: apply(plan), lambda: pin(Layer(tmp_path / "2"))):
            with pytest.raises(BusyError, match="is writing there|holds"):
                act()
    apply(plan)


def test_the_stack_changed_since_the_dry_run(tmp_path: Path) -> None:
    chain_of(tmp_path)
    plan = plan_drop([Layer(tmp_path / "2")])
    drop(tmp_path, "3")
    with pytest.raises(ImageError, match="changed since the dry run"):
        apply(plan)


def test_cancel(tmp_path: Path) -> None:
    chain_of(tmp_path)
    make(tmp_path, "2b", Spec({7: {0}}, {7: {1}}), "2")
    before = memories(tmp_path)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        apply(plan_drop([Layer(tmp_path / "2")]), cancel=cancel)
    assert memories(tmp_path) == before
    cancel = CancelToken()
    seen: list[object] = []

    def listen(event: object) -> None:
        seen.append(event)
        if len(seen) == 2:
            cancel.cancel()

    with pytest.raises(Cancelled, match="1 layers hold now what they need, and none went"):
        apply(plan_drop([Layer(tmp_path / "2")]), listen, cancel)
    assert memories(tmp_path) == before
    whole(tmp_path)
    drop(tmp_path, "2")
    whole(tmp_path)


def test_ancestors_and_children_in_other_directories(tmp_path: Path) -> None:
    chain_of(tmp_path / "a", 3)
    other = tmp_path / "b"
    make(other, "4", Spec({7: {0, 4}}, {7: {1, 2, 3, 20}, 8: {3}}), "../a/3", tag=4)
    make(other, "5", Spec({7: {0, 5}}, {7: {1, 2, 3, 4, 20}, 8: {3}}), "4", tag=5)
    before = memories(other)
    drop(other, "4")
    assert Layer(other / "5").parent_link == "../../a/3" and memories(other)["5"] == before["5"]
    with pytest.raises(ImageError, match=r"a/3: .*b/.*depends on it"):
        plan_drop([Layer(tmp_path / "a/3")])
    with pytest.raises(ImageError, match="is not in the stack|does not lie in the stack"):
        plan_squash(Layer(tmp_path / "a/2"), Layer(other / "5"))
    drop(tmp_path / "a", "2")
    assert memories(other)["5"] == before["5"]


def test_a_child_that_cannot_be_read(tmp_path: Path) -> None:
    layers = chain_of(tmp_path)
    layers[4].file("inventory.img").write_bytes(b"rot")
    with pytest.raises(ImageError, match=r"4: .*/5 depends on it, and cannot be read"):
        plan_drop([layers[3]])
    drop(tmp_path, "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lamina-trash.2", "1", "3", "4", "5"]


def test_punched_pages(tmp_path: Path) -> None:
    layers = chain_of(tmp_path)
    assert layers[0].sidecar
    layers[0].sidecar.with_punched("pages-1.img", layers_range(), "5").store(layers[0].directory)
    with pytest.raises(ImageError, match=r"2: 1 pages that it would take of 1 were punched by 5"):
        plan_drop([layers[0]])


def layers_range() -> PageRuns:
    return PageRuns.of([(PAGE, 2 * PAGE)])


def test_a_crash_between_links_and_exchange_is_settled(tmp_path: Path) -> None:
    """The states in which a lamina that renames a layer with followers can die."""
    chain_of(tmp_path)
    before = memories(tmp_path)
    drop(tmp_path, "5")
    os.symlink("4", tmp_path / ".lamina-trash.4")
    relink(tmp_path / ".lamina-trash.5", "../.lamina-trash.4")
    assert memories(tmp_path)[".lamina-trash.5"] == before["5"]
    sweep_stack(tmp_path)
    assert Layer(tmp_path / ".lamina-trash.5").parent_link == "../4"
    whole(tmp_path)
    os.symlink("9", tmp_path / "9")
    os.symlink("../5", tmp_path / "4/.lamina-parent.new")
    sweep_stack(tmp_path)
    whole(tmp_path)
