"""What the diff screen is told by: steps over pages, bars, marks, and the lines of a page on two sides."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.tui.model.address_space import AddressSpace
from lamina.tui.model.both_pages import BothPages, SidePage, pair_lines
from lamina.tui.model.compared import Compared
from lamina.tui.model.difference import ADDED, CHANGED, GONE, LOST, SAME, DiffArea, DiffMemory
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.marks import Marks

FATES = st.lists(st.sampled_from(["", SAME, CHANGED, ADDED, GONE, LOST]), min_size=1, max_size=60)


def runs(fates: list[str], fate: str) -> PageRuns:
    return PageRuns.from_pages([at * PAGE for at, it in enumerate(fates) if it == fate])


@given(FATES, st.integers(0, 60))
def test_steps_go_to_each_changed_page_and_to_the_first_of_what_came_or_went(fates: list[str], page: int) -> None:
    sets = [runs(fates, fate) for fate in (CHANGED, ADDED, GONE, LOST)]
    memory = DiffMemory(1, 1, AddressSpace(), (), 0, *sets)
    stops = [at for at, fate in enumerate(fates) if fate == CHANGED or (fate in (ADDED, GONE, LOST) and (at == 0 or fates[at - 1] != fate))]
    behind, before = memory.step(page * PAGE + 7, forward=True), memory.step(page * PAGE + 7, forward=False)
    assert behind == next((at * PAGE for at in stops if at > page), None)
    assert before == next((at * PAGE for at in reversed(stops) if at < page), None)
    changed = [at for at, fate in enumerate(fates) if fate == CHANGED]
    assert memory.place(page * PAGE) == (changed.index(page) + 1 if page in changed else 0, len(changed))


@given(st.lists(st.integers(0, 10**9), min_size=6, max_size=6), st.integers(1, 40))
def test_a_bar_is_full_and_hides_nothing(counts: list[int], width: int) -> None:
    area = DiffArea(1, 0, PAGE, "heap", "rw-p", *counts)
    bar, there = area.bar(width), [glyph for glyph, count in area.counts if count]
    assert [glyph for glyph, _ in bar] == there[:width] and all(cells > 0 for _, cells in bar)
    assert sum(cells for _, cells in bar) == (width if there else 0)


@given(st.sets(st.integers(0, 511), max_size=12), st.sampled_from([8, 16]))
def test_lines_show_every_byte_that_differs_and_say_what_they_leave_out(places: set[int], width: int) -> None:
    before, after = bytes(512), bytes(1 if at in places else 0 for at in range(512))
    pages = BothPages(1, 0, SidePage(before, "layer 1"), SidePage(after, "layer 2"))
    assert pages.differing == len(places)
    lines = pair_lines(pages, width)
    assert {line.offset + at for line in lines for at, mark in enumerate(line.marks) if mark} == places
    assert sum(line.left_out or len(line.b) for line in lines) == 512
    assert [line.offset for line in pair_lines(pages, width, whole=True)] == list(range(0, 512, width))
    absent = pair_lines(BothPages(1, 0, SidePage(None, "not mapped"), SidePage(after, "layer 2")), width)
    assert b"".join(line.b for line in absent) == after and not any(any(line.marks) for line in absent)


def test_what_changed_is_the_smallest_number_it_lies_in() -> None:
    before, after = bytes(16), (7 << 64 | 300 << 16).to_bytes(16, "little")
    lines = pair_lines(BothPages(1, 0, SidePage(before, ""), SidePage(after, "")), 8)
    assert [line.number for line in lines] == [(2, 0, 300), (1, 0, 7)]
    (both,) = pair_lines(BothPages(1, 0, SidePage(before, ""), SidePage(after, "")), 16)
    assert both.number is None  # more than a number


def test_two_marks_and_what_is_compared() -> None:
    third, second, first = rows = [LayerRow(Path("3"), "3", Path("2")), LayerRow(Path("2"), "2", Path("1")), LayerRow(Path("1"), "1", None)]
    marks = Marks()
    assert marks.compared(rows, first) is None
    assert marks.compared(rows, third) == Compared(Path("2"), Path("3"))  # with its parent
    marks.toggle(third.path)
    assert marks.compared(rows, first) == Compared(Path("1"), Path("3"))  # the marked one with the one under the cursor
    for path in (first.path, second.path):
        marks.toggle(path)
    assert third.path not in marks and len(marks) == 2  # the third mark took away the first
    assert marks.compared(rows, third) == Compared(Path("1"), Path("2"))
    assert marks.compared(rows[:2], third) == Compared(Path("2"), Path("3"))  # a marked layer was dropped meanwhile
    marks.toggle(second.path)
    assert second.path not in marks
    marks.keep(rows[:2])
    assert len(marks) == 0
