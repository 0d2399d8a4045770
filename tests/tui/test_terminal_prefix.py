"""Whose a key is, what the rail chooses, which command lines cannot be meant, and what a lower window loses."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.tui.dialogs.new_program import wrong_command
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.typed import words_of
from lamina.tui.terminal.emulator import Emulator
from lamina.tui.terminal.prefix import Prefix, Whose
from lamina.tui.widgets.terminal_rail import TerminalRail

P, L, N = Whose.PROGRAM, Whose.LAMINA, Whose.NOBODY
ROWS = [LayerRow(Path(name), name, None, time=at) for at, name in ((3.0, "3"), (2.0, "2"), (1.0, "1"))]


@pytest.mark.parametrize(
    ("keys", "whose"),
    [
        ("a d ctrl+q ctrl+p tab escape ctrl+c", [P] * 7),
        ("ctrl+g d d", [N, L, P]),
        ("ctrl+g ctrl+g a", [N, P, P]),
        ("ctrl+g escape d", [N, N, P]),
        ("ctrl+g up up r r", [N, L, L, L, P]),
        ("ctrl+g up ctrl+g r r", [N, L, N, L, P]),
        ("ctrl+g ctrl+q q", [N, L, P]),
        ("ctrl+g up ctrl+g r", [N, L, N, L]),
    ],
)
def test_only_the_key_after_the_prefix_is_laminas(keys: str, whose: list[Whose]) -> None:
    prefix = Prefix()
    assert [prefix.whose(key) for key in keys.split()] == whose


def chosen(rail: TerminalRail) -> str:
    return rail.row.name if rail.row else ""


def test_the_rail_chooses_what_the_program_stands_on() -> None:
    rail = TerminalRail()
    rail.show([], None)
    assert chosen(rail) == ""
    rail.show(ROWS[1:], Path("2"))
    rail.move(1)
    assert chosen(rail) == "1"
    rail.move(1)
    assert chosen(rail) == "1"
    # Read again, and nothing is new: the choice stays. It stands on another before that is read: chosen once it is.
    rail.show(ROWS[1:], Path("2"))
    assert chosen(rail) == "1"
    rail.show(ROWS[1:], Path("3"))
    assert chosen(rail) == "1"
    rail.show(ROWS, Path("3"))
    assert chosen(rail) == "3"
    # A rescue layer is newer than what it stands on after a rewind.
    rescue = replace(ROWS[0], path=Path("rescue"), name="rescue", time=4.0)
    rail.show([rescue, *ROWS], Path("1"))
    assert chosen(rail) == "1"
    rail.show([replace(rescue, path=Path("4"), name="4", time=5.0), rescue, *ROWS], None, ended=True)
    assert chosen(rail) == "4"
    rail.show([], None)
    assert rail.row is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"{sys.executable} -q", ""), ("sh -c 'sleep 1'", ""), ("", "a program and its arguments"), ("sh 'x", "no closing quotation"),
        ("no-such-program -x", "there is no program no-such-program in PATH"), ("/nowhere/x", "there is no program /nowhere/x"),
    ],
)  # fmt: skip
def test_a_command_line_that_cannot_be_meant(line: str, why: str) -> None:
    assert wrong_command(line) == why
    assert bool(words_of(line)) == (why == "" or why.startswith("there is no program"))


def test_a_lower_window_loses_empty_lines_first() -> None:
    emulator = Emulator(20, 6, lambda _answer: None)
    emulator.feed(b"a\r\nb\r\n>>> ")
    emulator.resize(20, 3)
    assert emulator.text == "a\nb\n>>>"
    emulator.resize(20, 2)
    assert emulator.text == "b\n>>>" and emulator.cursor == (4, 1)
    emulator.resize(20, 6)
    emulator.feed(b"x")
    assert emulator.text.split("\n")[:3] == ["b", ">>> x", ""]


def test_a_kept_screen_cannot_write_to_the_users_terminal() -> None:
    emulator = Emulator(8, 1, lambda _answer: None)
    text = emulator.save().replace('" ', '"a\\u001b]0;x\\u0007\\u009b\\u202eb', 1)
    emulator.load(text)
    assert emulator.text == "a]0;xb"


def test_what_no_emulator_knows_is_left_out() -> None:
    emulator = Emulator(20, 2, lambda _answer: None)
    emulator.feed(b"\x1b[>4;1ma\x1b[?9999999999hb\x1b[38;2;1mc\xff\xfed")
    assert emulator.text.startswith("abc") and emulator.text.rstrip().endswith("d")
