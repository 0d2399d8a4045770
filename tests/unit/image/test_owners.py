"""Who owns a page, against a model that is a dictionary."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import layer as layers
from lamina.core.image.layer import Layer
from lamina.core.image.owners import OwnerMap, resolve, to_addresses, to_offsets
from lamina.core.image.stack import Stack, covered
from tests.unit.image.layers import Spec, address, content, make, read_page, runs
from tests.unit.image.stacks import Plan, build, new_stack, plans, resolve_naively


@settings(max_examples=50, deadline=None)
@given(plan=plans())
def test_owners_are_those_of_the_model(plan: Plan) -> None:
    with new_stack() as stack:
        made = build(stack, plan)
        for name, layer in made.items():
            for pid in layer.objects:
                assert isinstance(pid, int)
                owned = resolve(layer.chain(), pid)
                naive = {page: resolve_naively(plan, name, pid, page) for page in range(plan.pages)}
                assert owned.runs == runs({page for page, owner in naive.items() if owner})
                assert not owned.missing
                assert not owned.punched
                for page, owner in naive.items():
                    found = owned.of(address(page))
                    assert (found[0].name if found else None) == owner
                    expected = content(plan.layers[owner].tag, pid, page) if owner else None
                    assert read_page(layer, pid, page) == expected
                assert covered(layer, pid) == owned.runs
                check_shares(owned, layer)


def check_shares(owned: OwnerMap, layer: Layer) -> None:
    seen = PageRuns.empty()
    for share in owned.shares:
        assert share.runs
        assert not share.runs & seen
        seen |= share.runs
        assert share.pages_file.parent == share.layer.directory
        for (start, end), offset in zip(share.runs, share.offsets.tolist(), strict=True):
            assert owned.of(start) == (share.layer, offset)
            assert owned.of(end - PAGE) == (share.layer, offset + end - start - PAGE)
    assert layer.pagemap(next(iter(layer.objects))).all.pages >= 0


@given(st.sets(st.integers(0, 80)), st.data())
def test_offsets_and_addresses_are_inverse(pages: set[int], data: st.DataObject) -> None:
    present = runs(pages)
    part = runs(data.draw(st.sets(st.sampled_from(sorted(pages)))) if pages else set())
    order = {page: at for at, page in enumerate(sorted(pages))}
    offsets = to_offsets(present, part) if part else PageRuns.empty()
    assert offsets == PageRuns.from_pages([order[(at - address(0)) // PAGE] * PAGE for at in part.addresses().tolist()])
    assert to_addresses(present, offsets) == part


def test_offsets_behind_the_data_are_no_pages() -> None:
    assert to_addresses(runs({3}), PageRuns.of([(0, 5 * PAGE)])) == runs({3})
    assert not to_addresses(runs({3}), PageRuns.of([(PAGE, 5 * PAGE)]))
    assert not to_addresses(PageRuns.empty(), PageRuns.of([(0, PAGE)]))


def test_a_grandparent_alone_does_not_count(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 3}}))
    make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1")
    child = make(tmp_path, "3", Spec({7: set()}, {7: {1, 2, 3}}), "2")
    owned = resolve(child.chain(), 7)
    assert [(layer.name, lacking) for layer, lacking in owned.missing] == [("2", runs({3}))]
    assert [(share.layer.name, share.runs) for share in owned.shares] == [("2", runs({1})), ("1", runs({2}))]
    assert covered(child, 7) == runs({1, 2})


def test_inherited_without_a_parent_or_its_map(tmp_path: Path) -> None:
    lone = make(tmp_path, "1", Spec({7: {1}}, {7: {2}}))
    assert [(layer.name, lacking) for layer, lacking in resolve(lone.chain(), 7).missing] == [("1", runs({2}))]
    make(tmp_path, "2", Spec({8: {1}}))
    child = make(tmp_path, "3", Spec({7: {1}}, {7: {2}}), "2")
    assert [(layer.name, lacking) for layer, lacking in resolve(child.chain(), 7).missing] == [("2", runs({2}))]
    assert covered(child, 8) == PageRuns.empty()


def test_circles_and_depth_are_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "1", Spec({7: {1}}))
    make(tmp_path, "2", Spec({7: {1}}), "1")
    last = make(tmp_path, "3", Spec({7: {1}}), "2")
    monkeypatch.setattr(layers, "MAX_DEPTH", 2)
    with pytest.raises(ImageError, match="more than 2 ancestors"):
        last.chain()
    monkeypatch.undo()
    (tmp_path / "1" / "parent").symlink_to("../3")
    with pytest.raises(ImageError, match="form a circle at 3"):
        last.chain()
    (tmp_path / "1" / "parent").unlink()
    (tmp_path / "1" / "parent").symlink_to(".")
    with pytest.raises(ImageError, match="circle"):
        last.chain()
    (tmp_path / "1" / "parent").unlink()
    (tmp_path / "1" / "parent").symlink_to("../parent-of-nothing")
    with pytest.raises(ImageError, match="its parent ../parent-of-nothing is not there"):
        last.chain()
    stack = Stack.open(tmp_path)
    assert stack.layers == ()
    assert [it.path.name for it in stack.unreadable] == ["1", "2", "3"]


def test_a_stack_is_a_tree(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1}}), label="first")
    make(tmp_path, "2", Spec({7: {1}}), "1", tag=2)
    make(tmp_path, "4", Spec({7: {1}}), "1", tag=3, label="branch")
    make(tmp_path, "3", Spec({7: {1}}), "2", tag=4, label="branch")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "link").symlink_to("1")
    stack = Stack.open(tmp_path)
    assert [layer.name for layer in stack.layers] == ["1", "2", "4", "3"]
    assert [layer.name for layer in stack.roots] == ["1"]
    assert [layer.name for layer in stack.children(stack.find("1"))] == ["2", "4"]
    above = stack.parent_of(stack.find("3"))
    assert above is stack.find("2")
    assert stack.find("first").name == "1"
    for word, why in (("branch", "several layers have that label: 4, 3"), ("9", "the stack holds 1, 2, 4, 3")):
        with pytest.raises(ImageError, match=why):
            stack.find(word)


def test_an_ancestor_outside_the_directory_belongs_to_the_stack(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    make(tmp_path / "a", "1", Spec({7: {1}}))
    make(tmp_path / "b", "2", Spec({7: {1}}, {7: set()}), "../a/1")
    stack = Stack.open(tmp_path / "b")
    assert [layer.directory for layer in stack.layers] == [tmp_path / "a" / "1", tmp_path / "b" / "2"]


def test_a_gibibyte_of_single_pages_resolves_by_arrays(tmp_path: Path) -> None:
    """Ten layers, each with 5 % of 1 GiB scattered: no loop over pages."""
    import time

    from lamina.core.image.pagemap import PageMap

    rng = np.random.default_rng(1)
    everything = PageRuns.of([(address(0), address(1 << 18))])
    chain: list[Layer] = []
    for at in range(10):
        layer = make(tmp_path, str(at), Spec({7: set()}), None if at == 0 else str(at - 1))
        own = PageRuns.from_pages(address(0) + np.unique(rng.integers(0, 1 << 18, 13_000)).astype(np.uint64) * PAGE)
        pagemap = PageMap.of(1, everything if at == 0 else own, PageRuns.empty() if at == 0 else everything - own)
        layer.file("pagemap-7.img").write_bytes(pagemap.encode())
        os.truncate(layer.file("pages-1.img"), pagemap.data_bytes)
        chain.insert(0, Layer(layer.path))
    _ = [layer.pagemap(7) for layer in chain]
    begin = time.perf_counter()
    owned = resolve(chain, 7)
    took = time.perf_counter() - begin
    assert owned.runs == everything
    assert len(owned.shares) == 10
    assert took < 1.0
