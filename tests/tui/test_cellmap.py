"""Cells of an address space, against a count of every single page."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.tui.model.cellmap import CellMap, MapArea, Paint, fitting_scale

GAPS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), min_size=1, max_size=6)
PAGES = st.sets(st.integers(0, 300), max_size=120)


def areas_of(gaps: list[tuple[int, int]]) -> list[MapArea]:
    at = 0
    areas: list[MapArea] = []
    for gap, pages in gaps:
        at += gap
        areas.append(MapArea(at * PAGE, (at + pages) * PAGE, f"a{len(areas)}", blank="." if pages % 2 else "·"))
        at += pages
    return areas


@given(GAPS, PAGES, PAGES, st.integers(1, 20), st.integers(1, 12))
def test_every_cell_is_what_its_pages_say(gaps: list[tuple[int, int]], old: set[int], new: set[int], scale: int, width: int) -> None:
    areas = areas_of(gaps)
    paints = [
        Paint("o", PageRuns.from_pages([page * PAGE for page in old])),
        Paint("N", PageRuns.from_pages([page * PAGE for page in new])),
    ]
    shown = CellMap(areas, paints, scale, width)
    seen: dict[str, int] = {}
    for number in range(shown.lines):
        line = shown.line(number)
        assert line.first == (line.start == line.area.start) and 0 < len(line.glyphs) <= width
        for cell, (glyph, share) in enumerate(zip(line.glyphs, line.shares, strict=True)):
            first = line.start // PAGE + cell * scale
            pages = set(range(first, min(first + scale, line.area.end // PAGE)))
            seen[line.area.name] = seen.get(line.area.name, 0) + len(pages)
            wanted = "N" if pages & new else "o" if pages & old else line.area.blank
            assert glyph == wanted
            part = pages & (new if wanted == "N" else old if wanted == "o" else set())
            assert abs(share - len(part) / len(pages)) < 1e-9
            assert all(shown.place_of(page * PAGE) == (number, cell) for page in pages)
            assert shown.address_at(number, cell) == first * PAGE
    assert seen == {area.name: area.pages for area in areas}


@given(GAPS, st.integers(-3, 400))
def test_the_nearest_address_lies_in_an_area(gaps: list[tuple[int, int]], page: int) -> None:
    shown = CellMap(areas_of(gaps), [], 1, 8)
    assert shown.place_of(shown.nearest(max(0, page) * PAGE)) is not None


def test_the_whole_space_fits_and_one_page_is_the_limit() -> None:
    areas = [MapArea(0, 100 << 30, "huge"), MapArea(200 << 30, (200 << 30) + PAGE, "small")]
    scale = fitting_scale(areas, 80, 10)
    assert CellMap(areas, [], scale, 80).lines <= 10 < CellMap(areas, [], scale - 1, 80).lines
    assert fitting_scale(areas[1:], 80, 10) == 1
    assert CellMap([], [], 1, 80).lines == 0
