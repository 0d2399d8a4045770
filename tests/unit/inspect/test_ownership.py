"""Who owns what, summed up and drawn: against the naive model, with what is punched and lost marked."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.image.layer import Layer
from lamina.core.inspect.ownership import FARTHER, LACKING, NOBODY, PUNCHED, letter_of, ownership, strips
from lamina.core.rewrite.dedup import apply_dedup, plan_dedup
from tests.unit.image.layers import AREA_PAGES, BASE, Spec, address, make, runs
from tests.unit.image.stacks import Plan, build, new_stack, plans, resolve_naively

PAGE = 4096


@settings(max_examples=30, deadline=None)
@given(plans(), st.integers(1, AREA_PAGES))
def test_runs_sums_and_strips_are_the_models(plan: Plan, width: int) -> None:
    with new_stack() as stack:
        for name, layer in build(stack, plan).items():
            found = ownership(layer, 7)
            chain = [it.name for it in found.map.chain]
            naive = {page: owner for page in range(plan.pages) if (owner := resolve_naively(plan, name, 7, page))}
            listed = {at: chain[run.owner] for run in found.runs() if run.owner is not None
                      for at in range(run.start, run.end, PAGE)}  # fmt: skip
            assert listed == {address(page): owner for page, owner in naive.items()}
            assert {it.layer.name: it.pages for it in found.owners} == {it: list(naive.values()).count(it) for it in set(naive.values())}
            assert [it.index for it in found.owners] == sorted(chain.index(it) for it in set(naive.values()))
            (whole,) = strips(layer, found, AREA_PAGES) or (None,)
            assert (whole is None) == (not naive)
            if whole is None:
                continue
            expected = [letter_of(chain.index(naive[page])) if page in naive else NOBODY for page in range(AREA_PAGES)]
            assert whole.strip == "".join(expected) and whole.pages == len(naive) and whole.area and whole.area.start == BASE
            (narrow,) = strips(layer, found, width)
            assert len(narrow.strip) == width and set(narrow.strip) <= set(whole.strip)
            edges = [AREA_PAGES * n // width for n in range(width + 1)]
            for cell, sign in enumerate(narrow.strip):
                held = [it for it in expected[edges[cell] : edges[cell + 1]] if it != NOBODY]
                assert sign == NOBODY if not held else held.count(sign) == max(held.count(it) for it in held)


def test_what_is_lost_is_marked(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {2}}, {7: {1, 3}}), "1", tag=2)
    apply_dedup(plan_dedup(Layer(tmp_path / "2")))
    first = Layer(tmp_path / "1")
    found = ownership(first, 7)
    assert [(it.pages, it.punched) for it in found.owners] == [(3, 1)]
    assert [(run.start, run.state, run.offset) for run in found.runs()] == [
        (address(1), "data", 0), (address(2), "punched", PAGE), (address(3), "data", 2 * PAGE),
    ]  # fmt: skip
    assert strips(first, found)[0].strip.startswith(f".a{PUNCHED}a.")
    broken = make(tmp_path, "3", Spec({7: {2}}, {7: {3, 9}}), "1", tag=3)
    found = ownership(broken, 7)
    assert found.missing == 1 and [(run.start, run.state) for run in found.runs()][-1] == (address(9), "missing")
    assert strips(broken, found)[0].strip[:11] == f"..ab.....{LACKING}."


def test_memory_without_areas_is_one_strip(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2, 5}}), pre_dump=True)
    found = ownership(layer, 7)
    (strip,) = strips(layer, found)
    assert strip.area is None and strip.strip == "aa..a" and found.name == "" and found.map.runs == runs({1, 2, 5})
    empty = make(tmp_path, "2", Spec({7: set()}))
    assert strips(empty, ownership(empty, 7)) == () and ownership(empty, 7).owners == ()


def test_letters_come_to_an_end() -> None:
    assert (letter_of(0), letter_of(25), letter_of(26), letter_of(51), letter_of(52)) == ("a", "z", "A", "Z", FARTHER)
