"""Keys written into the terminal of a real lamina at once: a key belongs to the place that the keys before it have asked for."""

import os
import sys
from pathlib import Path

import pytest

from tests.live.harness import Reaper, lamina_command, need_root, start_c
from tests.tui.raw_terminal import raw_terminal


def test_letters_of_a_filter_take_no_layers_and_answers_wait_for_their_questions(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    stack = tmp_path / "shots"
    name = str(victim.dir).encode()
    with raw_terminal(lamina_command("--stack", stack)) as screen:
        # Before it reads anything: Enter is still a line feed, as the terminal makes it.
        screen.type(b"/dd\n\x1b/" + name + b"\nt3")
        screen.wait_for(lambda text: "lamina · stack" in text and "uffd-wp async" in text)
        assert not stack.exists() or not os.listdir(stack)
        screen.type(b"1/dd\r\x1b3d")
        screen.wait_for("on layer 1")
        # Escape right before another key; a label, the palette, the line after a colon, help, and a question that is answered.
        screen.type(b"llabel of dd\r?q\x1bOAd\x10verify\r:stack\r1/dd\x1b3P\r")
        screen.wait_for(lambda text: "pinned" in text and "label of dd" in text and "on layer 2" in text)
        assert sorted(os.listdir(stack)) == ["1", "2"]


def test_what_is_typed_for_a_program_goes_there_in_order(tmp_path: Path) -> None:
    with raw_terminal(lamina_command("--stack", tmp_path / "shots", "run", "--", sys.executable, "-q")) as screen:
        letters = "".join(chr(ord("a") + number % 26) for number in range(300))
        screen.type(f"word = '{letters}'\n".encode())
        screen.type(b"word == ''.join(chr(97 + n % 26) for n in range(300))\r\x07?q\x071\x1b6len(word)\r")
        screen.wait_for(lambda text: "True" in text and "\n300" in text)


def test_a_pager_gets_what_was_typed_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_root()  # only with privileges can what was read be put back into the terminal
    pager, read = tmp_path / "pager", tmp_path / "read"
    pager.write_text(f'#!/bin/sh\ncat >/dev/null\nread line </dev/tty\necho "$line" >{read}\n')
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", str(pager))
    with raw_terminal(lamina_command()) as screen:
        screen.type(b"5\to")
        screen.type(b"qd 1/q\r")
        screen.wait_for(lambda text: "lamina · jobs" in text and read.exists() and read.read_text() == "qd 1/q\n")
        screen.type(b":processes\r/q")
        screen.wait_for("lamina · processes")
        assert screen.process.poll() is None
