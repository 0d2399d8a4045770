"""Where one key ends and the next one begins, however what a terminal sends is cut into reads."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from lamina.tui.keys import parser
from lamina.tui.keys.parser import KeyParser

# What a terminal sends for a key, and its name; no Escape, which begins some of the others.
KEYS = {
    "d": "d", "1": "1", "é": "é", "漢": "漢", "/": "slash", ":": "colon", "\r": "enter", "\t": "tab", "\x7f": "backspace", "\x10": "ctrl+p",
    "\x1b[A": "up", "\x1bOB": "down", "\x1b[3~": "delete", "\x1b[5~": "pageup", "\x1b[1;5C": "ctrl+right", "\x1b[Z": "shift+tab",
    "\x1b[[A": "f1", "\x1bOP": "f1", "\x1b[21~": "f10", "\x1b[100;3u": "alt+d",
}  # fmt: skip


def read(*reads: str, rest: bool = False) -> list[str]:
    """The keys of what was read; *rest*: and then nothing more came."""
    found = KeyParser()
    messages = [message for text in reads for message in found.feed(text)]
    if rest:
        time.sleep(parser.PATIENCE_S)
        messages += found.tick()
    return [it.key if isinstance(it, events.Key) else it.text if isinstance(it, events.Paste) else type(it).__name__ for it in messages]


@given(st.lists(st.sampled_from(sorted(KEYS)), max_size=30), st.data())
def test_keys_are_the_same_however_they_are_cut(keys: list[str], data: st.DataObject) -> None:
    text = "".join(keys)
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]
    assert read(*pieces) == [KEYS[key] for key in keys]


@given(st.lists(st.sampled_from(["\x1b", *sorted(set(KEYS) - {"\x1b[100;3u"})]), min_size=3, max_size=30))
def test_escape_typed_ahead_is_a_key_of_its_own(keys: list[str]) -> None:
    assert read("".join([*keys, "x"])) == [*(KEYS.get(key, "escape") for key in keys), "x"]


@pytest.mark.parametrize(
    ("reads", "keys"),
    [
        (["\x1b"], ["escape"]), (["\x1bd"], ["alt+d"]), (["\x1b", "D"], ["alt+shift+d"]), (["\x1b3"], ["alt+3"]),
        (["\x1b["], ["escape", "left_square_bracket"]), (["a\x1bO"], ["a", "escape", "O"]), (["\x1bOO"], ["escape", "O", "O"]),
        (["\x1b[99999Zd"], ["d"]), (["\x1b[?2026;2$y"], ["TerminalSupportsSynchronizedOutput"]),
        (["\x1b[I\x1b[O"], ["AppFocus", "AppBlur"]), (["\x1b[<0;3;4Mq"], ["MouseDown", "q"]),
        (["x\x1b" + "d" * 40], ["x", "escape", *"d" * 40]),
        (["\x1b[20", "0~ab\x1b[3~\x1b\x1bd\x1b[20", "1~x"], ["ab\x1b[3~\x1b\x1bd", "x"]),
    ],
)  # fmt: skip
def test_what_looks_like_a_sequence(reads: list[str], keys: list[str]) -> None:
    assert read(*reads, rest=True) == keys
