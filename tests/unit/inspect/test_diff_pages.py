"""Pages of two layers, by map and by content, against a model that goes page by page; also through readers without files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import Cancelled, ImageError
from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.image.storage.content import Content
from lamina.core.inspect.diff import diff
from lamina.core.inspect.diff import pages as pages_room
from lamina.core.inspect.diff.counts import PageCount, count_by_range
from lamina.core.inspect.diff.pages import PageDiff, PagesOfLayer, SidePages, diff_pages
from tests.unit.image.layers import BASE, Spec, address, content, make, runs
from tests.unit.image.stacks import Plan, build, new_stack, plans, resolve_naively

SETS = ("same", "changed", "maybe", "added", "gone", "unreadable")


class Without(Content):
    """A file that can be read and has no descriptor: what an archive gives."""

    fd = None

    def __init__(self, inner: Content) -> None:
        self._inner = inner
        self.size = inner.size

    def pread(self, size: int, offset: int) -> bytes:
        return self._inner.pread(size, offset)

    def close(self) -> None:
        self._inner.close()


@contextmanager
def held(*layers: Layer) -> Iterator[list[PagesOfLayer]]:
    found = [PagesOfLayer(resolve(layer.chain(), 7)) for layer in layers]
    try:
        yield found
    finally:
        for each in found:
            each.close()


def expected(plan: Plan, a: str, b: str) -> dict[str, set[int]]:
    """By content, and under "apart" the pages that lie at different places."""
    found: dict[str, set[int]] = {name: set() for name in (*SETS, "apart")}
    for page in range(plan.pages):
        one, other = (resolve_naively(plan, name, 7, page) for name in (a, b))
        if one is None and other is None:
            continue
        if one is None or other is None:
            found["added" if one is None else "gone"].add(page)
            continue
        tags = plan.layers[one].tag, plan.layers[other].tag
        found["same" if tags[0] == tags[1] else "changed"].add(page)
        if one != other:
            found["apart"].add(page)
    return found


def same_tags(plan: Plan, tags: list[int]) -> Plan:
    """Layers with equal tags write equal pages: content can be the same at different places."""
    for at, (name, it) in enumerate(plan.layers.items()):
        plan.layers[name] = type(it)(it.parent, it.spec, tags[at % len(tags)])
    return plan


@settings(max_examples=60, deadline=None)
@given(plans(), st.lists(st.integers(0, 2), min_size=1, max_size=5), st.data())
def test_every_page_is_in_the_set_of_the_model(plan: Plan, tags: list[int], data: st.DataObject) -> None:
    plan = same_tags(plan, tags)
    names = st.sampled_from(list(plan.layers))
    a, b = data.draw(names), data.draw(names)
    model = expected(plan, a, b)
    with new_stack() as stack:
        made = build(stack, plan)
        with held(made[a], made[b]) as (one, other):
            found = diff_pages(one, other)
            assert {name: getattr(found, name) for name in SETS} == {name: runs(model[name]) for name in SETS}
            by_map = diff_pages(one, other, contents=False)
            assert by_map.maybe == runs(model["apart"]) and not by_map.changed
            assert by_map.same == runs((model["same"] | model["changed"]) - model["apart"])
            assert (by_map.added, by_map.gone) == (found.added, found.gone)
            assert found.differs == any(model[name] for name in SETS if name != "same")
            one.close()
            other.close()
            for side in (one, other):
                without_files(side)
            assert vars(diff_pages(one, other)) == vars(found)


def without_files(side: PagesOfLayer) -> None:
    """As if its pages files were in an archive."""
    opened = side.content

    def content_of(owner: int) -> Content:
        return Without(opened(owner))

    side.content = content_of  # type: ignore[method-assign]  # this one object's


class Living(SidePages):
    """A process with these pages; some of them are unmapped when they are read."""

    def __init__(self, pages: dict[int, bytes], unmapped: frozenset[int]) -> None:
        self._pages, self._unmapped = pages, unmapped
        self.runs, self.lost = runs(set(pages)), PageRuns.empty()

    def read_into(self, wanted: PageRuns, view: memoryview) -> PageRuns:
        pages = ((wanted.addresses() - np.uint64(BASE)) // np.uint64(PAGE)).tolist()
        view[:] = b"".join(self._pages[page] for page in pages)
        return runs(set(pages) & self._unmapped)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 40)), st.dictionaries(st.integers(0, 40), st.booleans()), st.sets(st.integers(0, 40)), st.integers(1, 9))
def test_a_layer_and_a_process(own: set[int], there: dict[int, bool], unmapped: set[int], step: int) -> None:
    pages = {page: content(1 if same else 2, 7, page) for page, same in there.items()}
    with new_stack() as stack, held(make(stack, "1", Spec({7: own}), tag=1)) as (layer,), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages_room, "STEP_PAGES", step)
        found = diff_pages(layer, Living(pages, frozenset(unmapped)))
        by_map = diff_pages(layer, Living(pages, frozenset(unmapped)), contents=False)
    both = own & set(there)
    assert found.same == runs({page for page in both - unmapped if there[page]})
    assert found.changed == runs({page for page in both - unmapped if not there[page]})
    assert found.unreadable == runs(both & unmapped)
    assert found.added == runs(set(there) - own) and found.gone == runs(own - set(there))
    assert by_map.maybe == runs(both)


def test_long_stretches_are_compared_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_room, "STEP_PAGES", 8)
    a, b = (make(tmp_path, name, Spec({7: set(range(50))}), tag=1) for name in "12")
    with b.file("pages-1.img").open("r+b") as file:
        for page in (0, 7, 8, 49):
            file.seek(page * PAGE + 17)
            file.write(b"!")
    done: list[int] = []
    found = diff(a, b, done=done.append)
    assert found.memory[0].pages.changed == runs({0, 7, 8, 49})
    assert sum(done) == 50 and max(done) < 16
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        diff(a, b, cancel=cancel)


def test_what_is_lost_is_not_compared(tmp_path: Path) -> None:
    """Punched pages, pages that no parent has, and pages without data are told apart from those that differ."""
    from lamina.core.rewrite.dedup import apply_dedup, plan_dedup

    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2, 3}}), "1", tag=2)
    apply_dedup(plan_dedup(Layer(tmp_path / "2")))
    found = diff(Layer(tmp_path / "1"), Layer(tmp_path / "2")).memory[0].pages
    assert found.unreadable == runs({1}) and found.same == runs({2, 3}) and not found.changed
    broken = make(tmp_path, "3", Spec({7: {2}}, {7: {9, 3}}), "1", tag=3)
    found = diff(Layer(tmp_path / "2"), broken).memory[0].pages
    assert found.gone == runs({1}) and found.added == runs({9}) and found.changed == runs({2}) and found.same == runs({3})
    found = diff(broken, broken).memory[0].pages
    assert found.unreadable == runs({9})


def test_a_short_pages_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    a, b = (make(tmp_path, name, Spec({7: {1, 2, 3}})) for name in "12")
    with b.file("pages-1.img").open("r+b") as file:
        file.truncate(PAGE)
    with pytest.raises(ImageError, match=r"2/pages-1\.img"):
        diff(a, b)
    with held(a, b) as (one, other):
        without_files(one)
        with pytest.raises(ImageError, match=r"2/pages-1\.img"):
            diff_pages(one, other)


def test_more_layers_than_files_are_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_room, "_MOST_OPEN", 2)
    for at in range(6):
        make(tmp_path, str(at), Spec({7: {at}}, {7: set(range(at))}), None if at == 0 else str(at - 1), tag=at)
    other = make(tmp_path, "other", Spec({7: set(range(6))}), tag=3)
    found = diff(Layer(tmp_path / "5"), other).memory[0].pages
    assert found.same == runs({3}) and found.changed == runs({0, 1, 2, 4, 5})


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.integers(0, 60))
def test_pages_are_counted_between_addresses(pages: set[int], start: int, end: int) -> None:
    end = max(start, end)
    assert PageCount(runs(pages)).between(address(start), address(end)) == sum(start <= page < end for page in pages)
    counts = count_by_range(PageDiff(changed=runs(pages)), [(address(start), address(end)), (0, 1 << 63)])
    assert counts[1].changed == len(pages) and counts[1].differs == bool(pages) and counts[0].same == 0
