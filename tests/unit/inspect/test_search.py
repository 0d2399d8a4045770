"""Searching made layers: hits over the borders of pages, runs, windows and owners, against the plainest search there is."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import Cancelled, UsageError
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image.layer import Layer
from lamina.core.inspect.areas import AreaFilter, AreaKind, MemoryArea
from lamina.core.inspect.layer_memory import open_layer_memory
from lamina.core.inspect.memory_reader import Memory
from lamina.core.inspect.patterns import Pattern, float_pattern, hex_pattern, int_pattern, regex_pattern, text_pattern
from lamina.core.inspect.search import find, hits_of, runs_to_search, search
from tests.unit.image.layers import AREA_PAGES, BASE, Spec, address, make
from tests.unit.image.stacks import new_stack


def write_at(layer: Layer, page: int, offset: int, content: bytes) -> None:
    """Put *content* into one page that *layer* itself owns."""
    present = layer.pagemap(7).present
    index = present.addresses().tolist().index(address(page))
    with layer.pages_path(7).open("r+b") as file:
        file.seek(index * PAGE + offset)
        file.write(content)


def put(stack: dict[int, Layer], owners: dict[int, int], start: int, content: bytes) -> None:
    """Write *content* at *start* bytes of the area, each part into the layer that owns the page."""
    for at in range(len(content)):
        page, offset = divmod(start + at, PAGE)
        write_at(stack[owners[page]], page, offset, content[at : at + 1])


def make_three(directory: Path) -> tuple[dict[int, Layer], dict[int, int]]:
    """Three layers whose pages 0 to 9 have owners 1, 2 and 3 in turn; 10 is zero; 11 is the third's again."""
    owners = {page: page % 3 + 1 for page in range(10)} | {11: 3}
    made: dict[int, Layer] = {}
    for tag in (1, 2, 3):
        own = {page for page, owner in owners.items() if owner == tag}
        inherited = {page for page, owner in owners.items() if owner < tag}
        made[tag] = make(directory, str(tag), Spec({7: own}, {7: inherited}), str(tag - 1) if tag > 1 else None, tag=tag)
    return made, owners


def addresses(memory: Memory, pattern: Pattern, window: int = 1 << 20) -> list[int]:
    runs = runs_to_search(memory, pattern, memory.readable)
    return [at - BASE for at, _ in hits_of(find(memory, pattern, runs, window))]


def test_over_every_border_with_any_window(tmp_path: Path) -> None:
    made, owners = make_three(tmp_path)
    places = [PAGE - 3, 4 * PAGE - 8, 5 * PAGE + 17, 9 * PAGE + PAGE - 12, 11 * PAGE]
    for place in places:
        put(made, owners, place, b"a needle")
    with open_layer_memory(made[3], 7) as memory:
        for window in (8, 9, 100, PAGE, PAGE + 1, 3 * PAGE, 1 << 20):
            for pattern in (
                text_pattern("a needle"), hex_pattern("61 20 6e ?? 65 64 ?c 65"), regex_pattern("a n[de]+le"),
                regex_pattern("(?<=a) needle"),
            ):  # fmt: skip
                shift = 1 if pattern.regex and "?<=" in pattern.regex.pattern.decode() else 0
                assert addresses(memory, pattern, window) == [place + shift for place in places], (window, pattern)


def test_into_memory_that_nobody_wrote(tmp_path: Path) -> None:
    """Page 10 is zero and held by nobody; a hit may end or begin in it."""
    made, owners = make_three(tmp_path)
    put(made, owners, 10 * PAGE - 2, b"ab")
    put(made, owners, 11 * PAGE, b"cd")
    with open_layer_memory(made[3], 7) as memory:
        assert addresses(memory, Pattern(b"ab\0\0\0", b"\xff" * 5)) == [10 * PAGE - 2]
        assert addresses(memory, Pattern(b"\0\0cd", b"\xff" * 4)) == [11 * PAGE - 2]
        assert addresses(memory, regex_pattern("b\0{4096}c")) == [10 * PAGE - 1]
        found = search([memory], text_pattern("nowhere"))
        # Ten pages, the zero page between, one page; and one behind that a hit could reach into.
        assert found.complete and found.searched == 13 * PAGE


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_as_searching_the_whole(data: st.DataObject) -> None:
    """Random small alphabets, so that hits are many, touch and overlap."""
    with new_stack() as directory:
        made, owners = make_three(directory)
        for page, owner in owners.items():
            text = data.draw(st.binary(min_size=1, max_size=5))
            write_at(made[owner], page, data.draw(st.integers(0, PAGE - 3 * 600)), text * 600)
        with open_layer_memory(made[3], 7) as memory:
            whole = memory.read(BASE, AREA_PAGES * PAGE)
            word = data.draw(st.binary(min_size=1, max_size=6).filter(any))
            window = data.draw(st.integers(7, 5 * PAGE))
            expected = [match.start() for match in re.finditer(re.escape(word), whole, re.DOTALL)]
            assert addresses(memory, Pattern(word, b"\xff" * len(word)), window) == expected
            assert (
                addresses(memory, regex_pattern(re.escape(word).decode("latin-1").encode("latin-1").decode("latin-1")), window) == expected
                or not word.isascii()
            )


def test_numbers_as_the_machine_has_them(tmp_path: Path) -> None:
    made, owners = make_three(tmp_path)
    put(made, owners, 3 * PAGE + 8, struct.pack("<q", -77))
    put(made, owners, 4 * PAGE - 4, struct.pack("<q", -77))  # not at a multiple of 8
    put(made, owners, 6 * PAGE + 12, struct.pack("<i", 123456))
    put(made, owners, 7 * PAGE + 16, struct.pack("<d", 2.5))
    put(made, owners, 8 * PAGE + 16, struct.pack("<Q", (1 << 64) - 9))
    with open_layer_memory(made[3], 7) as memory:
        assert addresses(memory, int_pattern("-77", 8)) == [3 * PAGE + 8]
        assert addresses(memory, int_pattern("-77", 8, 4)) == addresses(memory, int_pattern("-77", 8, 1)) == [3 * PAGE + 8, 4 * PAGE - 4]
        assert addresses(memory, int_pattern("0x1e240", 4)) == [6 * PAGE + 12]
        assert addresses(memory, float_pattern("2.5")) == [7 * PAGE + 16]
        assert addresses(memory, int_pattern(str((1 << 64) - 9), 8)) == addresses(memory, int_pattern("-9", 8)) == [8 * PAGE + 16]


def test_patterns_that_are_none() -> None:
    for make_pattern, text in (
        (text_pattern, ""), (regex_pattern, "("), (regex_pattern, ""), (hex_pattern, "abc"), (hex_pattern, "xy"), (hex_pattern, ""),
        (float_pattern, "one"),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            make_pattern(text)
    for text, size in (("1.5", 8), ("4294967296", 4), ("-2147483649", 4), ("", 4)):
        with pytest.raises(UsageError):
            int_pattern(text, size)
    assert hex_pattern("0xDEad??4?") == Pattern(bytes.fromhex("dead0040"), bytes.fromhex("ffff00f0"))
    assert text_pattern("ü").data == "ü".encode()


def test_hits_say_where_they_are(tmp_path: Path) -> None:
    made, owners = make_three(tmp_path)
    put(made, owners, 0, b"<hit>")
    put(made, owners, 4 * PAGE - 2, b"<hit>")
    events: list[Event] = []
    with open_layer_memory(made[3], 7) as memory:
        found = search([memory], text_pattern("<hit>"), listener=events.append)
        assert [(hit.address - BASE, hit.owner.name, hit.pid, hit.size) for hit in found.hits] == [
            (0, "1", 7, 5),
            (4 * PAGE - 2, "1", 7, 5),
        ]
        assert [hit.data[hit.address - hit.start :][:5] for hit in found.hits] == [b"<hit>"] * 2
        assert [hit.address - hit.start for hit in found.hits] == [0, 16]
        assert all(len(hit.data) == hit.size + hit.address - hit.start + 16 for hit in found.hits)
        assert isinstance(events[-1], Progress) and events[-1].done == events[-1].total
        limited = search([memory], text_pattern("<hit>"), limit=1)
        assert limited.count == 1 and not limited.complete
        counted = search([memory], text_pattern("<hit>"), count_only=True, limit=1)
        assert counted.count == 2 and counted.hits == () and counted.complete
        ranged = search([memory], text_pattern("<hit>"), AreaFilter(ranges=((BASE + 1, BASE + 4 * PAGE + 3),)))
        assert [hit.address - BASE for hit in ranged.hits] == [4 * PAGE - 2]
        assert search([memory], text_pattern("<hit>"), AreaFilter(ranges=((BASE, BASE + 4 * PAGE + 2),))).count == 1
        stopped = CancelToken()
        stopped.cancel()
        with pytest.raises(Cancelled):
            search([memory], text_pattern("<hit>"), cancel=stopped)


def test_choosing_areas() -> None:
    heap = MemoryArea(0x1000, 0x3000, 3, 2, AreaKind.HEAP, "[heap]")
    code = MemoryArea(0x4000, 0x5000, 5, 2, AreaKind.FILE, "/usr/lib/libc.so.6")
    shared = MemoryArea(0x6000, 0x8000, 3, 1, AreaKind.SHARED_FILE, "/var/lib/heap.db")
    anon = MemoryArea(0x9000, 0xA000, 7, 2, AreaKind.ANON)
    areas = (heap, code, shared, anon)

    def chosen(*words: str, prot: str = "") -> list[MemoryArea]:
        return [area for area in areas if AreaFilter(words, prot).fits(area)]

    assert chosen() == list(areas)
    assert chosen("heap") == [heap]
    assert chosen("file") == [code, shared] and chosen("shared") == [shared] and chosen("anon", "heap") == [heap, anon]
    assert chosen("libc") == [code] and chosen("heap.db") == [shared]
    assert chosen(prot="rw") == [heap, shared, anon] and chosen(prot="rw-") == [heap, shared] and chosen(prot="x") == [code, anon]
    for wrong in ("q", "wr-", "rwxr"):
        with pytest.raises(UsageError):
            AreaFilter(prot=wrong)
    assert AreaFilter(ranges=((0x1800, 0x2000),)).runs(areas) == PageRuns.of([(0x1000, 0x2000)])
