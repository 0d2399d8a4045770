"""`lamina run` by keys only in a real terminal: a python prompt is wound back, variables and screen."""

import sys
from pathlib import Path

from tests.live.harness import Reaper, lamina_command
from tests.tui.terminal import terminal


def test_run_snapshot_type_on_rewind(reaper: Reaper, tmp_path: Path) -> None:
    command = lamina_command("--stack", tmp_path / "shots", "run", "--", sys.executable, "-q")
    with terminal(tmp_path / "tmux", command, 80, 24) as screen:
        screen.wait_for(">>>")
        screen.type("word = 'first'")
        screen.press("Enter", "C-g", "d")
        screen.wait_for("on layer 1")
        screen.type("word = 'second'; len(word)")
        screen.press("Enter")
        # Under the prefix the keys of lamina are shown; twice it is the program's.
        screen.press("C-g")
        screen.wait_for("rewind")
        screen.press("C-g")
        screen.wait_for(lambda text: "rewind" not in text)
        screen.press("C-g", "d")
        screen.wait_for("on layer 2")
        screen.press("C-g", "Down", "r")
        screen.wait_for("It will be ended")
        screen.press("Right", "Right", "Enter")
        screen.wait_for("is back at layer 1")
        screen.wait_for(lambda text: "second" not in text and "word = 'first'" in text)
        screen.type("word + '!'")
        screen.press("Enter")
        screen.wait_for("first!")
        screen.press("C-d")
        screen.wait_for("has ended with exit status 0")
        screen.press("q")
        screen.wait_for(lambda text: "lamina ·" not in text)
