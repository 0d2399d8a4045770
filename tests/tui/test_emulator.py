"""The terminal of a program: a real pseudo terminal, its screen as a value, keys as bytes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.tui.terminal.emulator import Emulator
from lamina.tui.terminal.key_codes import bytes_of

COLOURED = "\x1b[2J\x1b[3;5H\x1b[1;31mred\x1b[0m \x1b[38;5;208mo\x1b[7mrev\x1b[0m 漢字 end\x1b[?1h\x1b[10;20H".encode()


BLANK = {
    "version": 1, "columns": 40, "lines": 12, "rows": [], "cursor": [0, 0, False], "pen": ["default", "default", []],
    "modes": [], "margins": None,
}  # fmt: skip


def screen() -> Emulator:
    return Emulator(40, 12, lambda _answer: None)


def test_a_saved_screen_is_the_same_after_loading() -> None:
    one, other = screen(), screen()
    one.feed(COLOURED)
    other.feed(b"something else\r\n" * 20)
    other.load(one.save())
    assert other.save() == one.save()
    assert [other.line(at) for at in range(12)] == [one.line(at) for at in range(12)]
    assert other.cursor == one.cursor == (19, 9) and other.application_keys
    one.feed(b"and on\r\nit goes")
    other.feed(b"and on\r\nit goes")
    assert other.text == one.text and "漢字 end" in one.text


def test_a_smaller_window_cuts() -> None:
    one, small = screen(), Emulator(10, 4, lambda _answer: None)
    one.feed(COLOURED)
    small.load(one.save())
    assert small.size == (10, 4)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "columns": -1, "lines": 3}', '{"version": 1, "columns": "x"}',
        '{"version": 1, "columns": Infinity, "lines": 3}', json.dumps(BLANK | {"cursor": [float("inf"), 0, False]}),
        json.dumps(BLANK | {"modes": [float("inf")]}), json.dumps(BLANK | {"rows": {"0": []}}),
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        screen().load(text)


def test_a_hostile_state_is_cut_to_what_a_screen_can_hold() -> None:
    one = screen()
    one.load(
        json.dumps(BLANK | {"cursor": [1 << 60, -(1 << 60), False], "margins": [1, 5], "rows": [[["e" + "\u0301" * 3000, 1, [], ""]]]})
    )
    assert one.cursor == (39, 0) and len(one.line(0)[0].text) < 60
    one.feed(b"a" + "\u0301".encode() * 3000)
    one.feed("\u0301".encode() * 3000)
    one.resize(20, 5)
    one.feed(b"on\r\n" * 30)
    assert len(one.text) < 600 and one.text.count("on") >= 4


def test_answers_go_back() -> None:
    answers: list[bytes] = []
    Emulator(40, 12, answers.append).feed(b"\x1b[5;7H\x1b[6n")
    assert answers == [b"\x1b[5;7R"]


@pytest.mark.parametrize(
    ("key", "character", "wanted"),
    [
        ("a", "a", b"a"), ("up", None, b"\x1b[A"), ("ctrl+c", None, b"\x03"), ("enter", "\r", b"\r"), ("ctrl+left", None, b"\x1b[1;5D"),
        ("alt+b", None, b"\x1bb"), ("é", "é", "é".encode()), ("f10", None, b"\x1b[21~"), ("ctrl+backslash", None, b"\x1c"),
        ("f20", None, b""),
    ],
)  # fmt: skip
def test_keys(key: str, character: str | None, wanted: bytes) -> None:
    assert bytes_of(key, character) == wanted


def test_application_cursor_keys() -> None:
    assert bytes_of("up", None, True) == b"\x1bOA"


_PIECES = [
    b"plain text ", b"\r\n", b"\n", b"\t", b"\x08", "漢".encode(), "é".encode(), "❤️ on".encode(), b"\x1b[2J", b"\x1b[H", b"\x1b[5;9H",
    b"\x1b[31;1m", b"\x1b[48;5;208m", b"\x1b[0m", b"\x1b[3;8r", b"\x1b[r", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?47h", b"\x1b[?47l",
    b"\x1b7", b"\x1b8", b"\x1b[?6h", b"\x1b[?6l", b"\x1b[?7l", b"\x1b[?7h", b"\x1b[4h", b"\x1b[4l", b"\x1bH", b"\x1b[g", b"\x1b[3g",
    b"\x1bPq~\x07~\x1b\\", b"\x1b[>4;2m", b"\x1b[4:3m", b"\x1b_x\x1b\\", b"\x1b[1\x1b[m", b"\x9b3m", "ที่".encode(),
    b"\x1bM", b"\x1bD", b"\x1b[2L", b"\x1b[M", b"\x1b[3P", b"\x1b[2@", b"\x1b[K", b"\x1b[1K", b"\x1b[?25l", b"\x1b[?25h", b"\x1b%@",
    b"\x1b%G", b"\x1b(0", b"\x1b(B", b"\x0e", b"\x0f", b"\x1b]0;a title\x07", b"\x1b]2;another\x1b\\", b"\x1b[?1h", b"\x1b[12;\r3H",
    "\x1b[²m".encode(), b"\x1b#8", b"\x1b[20h", b"x" * 45, b"\xff\xfe", b"\x00", b"\x1bc",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=60), st.data())
@settings(max_examples=60, deadline=None)
def test_one_that_goes_on_from_a_saved_state_shows_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    """Wherever it is cut, in the middle of a character or a control sequence as well."""
    written = b"".join(pieces)
    whole = screen()
    whole.feed(written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=3)))
    part, at = screen(), 0
    for cut in [*cuts, len(written)]:
        part.feed(written[at:cut])
        part, before, at = screen(), part, cut
        part.load(before.save())
    assert [part.line(at) for at in range(12)] == [whole.line(at) for at in range(12)]
    for one in (part, whole):
        one.feed(b"\x1b\\ next \x1b[?1049l\x1b8 there \t|")
    assert [part.line(at) for at in range(12)] == [whole.line(at) for at in range(12)]
    assert part.cursor == whole.cursor


def test_the_alternate_screen_covers_the_main_one() -> None:
    one = screen()
    one.feed(b"$ vim\r\n\x1b[?1049h\x1b[H~ text")
    assert one.text.strip() == "~ text"
    one.resize(30, 6)
    one.feed(b"\x1b[?1049l$ ")
    assert one.text.strip() == "$ vim\n$"


def test_what_has_no_width_takes_nothing_with_it() -> None:
    one = screen()
    one.feed("\ufeff❤\ufe0f on \u200b and on".encode())
    assert one.text.strip() == "❤ on  and on"


@pytest.mark.parametrize("word", ["ที่นี่ทำ", "हिन्दी है", "a\u0301b", "שָׁלוֹם"])
def test_marks_stay_with_their_letters(word: str) -> None:
    one = screen()
    one.feed(word.encode() + b" on")
    assert one.text.strip() == word + " on"
    other = screen()
    other.load(one.save())
    assert other.text == one.text


@pytest.mark.parametrize(
    ("written", "shown", "flags"),
    [
        (b"\x1b[>4;2mon", "on", ()), (b"\x1b[=5uon", "on", ()), (b"\x1b[<uon", "on", ()), (b"\x1b[?4mon", "on", ()),
        (b"\x1b[!pon", "on", ()),
        (b"\x1b[2 qon", "on", ()), (b"\x1b[?2026$pon", "on", ()), (b"\x1bPq#0;2;0~~\x07\x1b\\on", "on", ()),
        (b"\x1b_Gf=1;AAAA\x1b\\on", "on", ()),
        (b"\x1b^private\x1b\\on", "on", ()), (b"\x1bXany\x1b\\on", "on", ()), (b"\x1bktitle\x1b\\on", "on", ()),
        (b"\x1b]0;t\x1b\\on", "on", ()),
        (b"\x1b[4:3mon", "on", ("underscore",)), (b"\x1b[4m\x1b[4:0mon", "on", ()), (b"\x1b[1;58:2::1:2:3mon", "on", ("bold",)),
        (b"\x1b[1\x1b[3mon", "on", ("italics",)), (b"\x1b[1\x18on", "on", ()), (b"a\x1b[\r5Con", "a    on", ()),
    ],
)  # fmt: skip
def test_what_the_emulator_does_not_know_is_not_printed(written: bytes, shown: str, flags: tuple[str, ...]) -> None:
    one = screen()
    for at in range(len(written)):
        one.feed(written[at : at + 1])
    assert one.text.strip() == shown
    assert next(cells.flags for cells in one.line(0) if cells.text.strip().endswith("on")) == flags


@pytest.mark.parametrize(
    ("style", "colour"), [(b"38:5:208", "ff8700"), (b"38:2:1:2:3", "010203"), (b"38:2::1:2:3", "010203"), (b"0;38:2::1:2:3:4:5", "010203")]
)  # fmt: skip
def test_colours_with_colons(style: bytes, colour: str) -> None:
    one = screen()
    one.feed(b"\x1b[" + style + b"mon")
    assert one.line(0)[0].fg == colour


def test_a_title_without_end_takes_no_memory() -> None:
    one = screen()
    for _ in range(100):
        one.feed(b"\x1b]0;" + b"x" * 10000)
        assert len(one.save()) < 20000
    one.feed(b"\x07 on")
    assert one.text.strip() == "on"
