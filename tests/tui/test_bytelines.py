"""Lines of bytes over areas with gaps, against a plain list of them."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.tui.model.bytelines import LINE, ByteLines
from lamina.tui.model.values import text_at, values_at

GAPS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=6)


@given(GAPS, st.integers(-5, 60), st.integers(0, 40))
def test_lines_are_those_of_a_plain_list(gaps: list[tuple[int, int]], line: int, count: int) -> None:
    at, areas, plain = 0, [], []
    for gap, lines in gaps:
        start = (at + gap) * LINE
        areas.append((start, start + lines * LINE))
        plain += [start + number * LINE for number in range(lines)]
        at += gap + lines
    shown = ByteLines(areas)
    assert shown.count == len(plain)
    assert [shown.line_of(address + LINE - 1) for address in plain] == list(range(len(plain)))
    assert shown.address_of(line) == plain[max(0, min(line, len(plain) - 1))]
    cut = [address + byte for address, size in shown.stretches(line, count) for byte in range(0, size, LINE)]
    assert cut == plain[max(0, line) : max(0, line + count)]
    assert len(shown.stretches(0, len(plain))) == len(areas)
    assert all(shown.line_of(address) is None for address in range(0, plain[-1], LINE) if address not in plain)


def test_a_hundred_gibibytes_are_no_list() -> None:
    shown = ByteLines([(0, 50 << 30), (1 << 40, (1 << 40) + (50 << 30))])
    assert shown.count == (100 << 30) // LINE
    assert shown.address_of(shown.count - 1) == (1 << 40) + (50 << 30) - LINE


def test_values() -> None:
    assert values_at(b"\xff\xff\xff\xff\0\0\0\0")[:4] == [("i8", "-1"), ("u8", "255"), ("i16", "-1"), ("u16", "65,535")]
    assert ("i64", "4,294,967,295") in values_at(b"\xff\xff\xff\xff\0\0\0\0")
    assert text_at("grün\0weg".encode()) == "grün" and text_at(b"\x80abc") == "" and text_at(b"a\x01b") == "a"
