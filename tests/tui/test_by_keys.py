"""The seed's session by keys only, in a real terminal, proved by the program's own answer."""

import re
from pathlib import Path

import pytest

from tests.live.harness import Reaper, Victim, lamina_command, start_c
from tests.tui.terminal import Terminal, terminal


def on_layer(name: str) -> str:
    return f"on layer {name}"


def find(screen: Terminal, victim: Victim) -> None:
    """Filter the tree until one process is left, and go to it."""
    screen.wait_for("PID NAME")
    screen.press("/")
    screen.type(str(victim.dir))
    screen.wait_for("1 hit")
    screen.press("Enter")
    # The bar of keys is that of the tree again; on a small terminal the detail is a pane of its own.
    screen.wait_for("t track")
    screen.press("Tab")
    screen.wait_for("can be dumped")
    screen.press("BTab")


def show_command_log(screen: Terminal) -> None:
    """A small terminal shows one pane at a time."""
    screen.press("Tab")
    screen.wait_for("─ log ─")
    screen.press("Tab")


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_filter_track_dump_twice_dry_run_restore_the_first(reaper: Reaper, tmp_path: Path, size: tuple[int, int]) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 8)
    stack = tmp_path / "shots"
    with terminal(tmp_path / "tmux", lamina_command("--stack", stack), *size) as screen:
        find(screen, victim)
        assert "no target" in screen.screen()
        screen.press("t")
        screen.wait_for("uffd-wp async · on no layer")
        before = victim.ask()
        screen.press("d")
        screen.wait_for(on_layer("1"))
        victim.ask("write 100 7")
        after = victim.ask()
        assert after["digest"] != before["digest"]
        screen.press("d")
        screen.wait_for(on_layer("2"))
        assert victim.ask() == after

        screen.press("3")
        shown = screen.wait_for(lambda text: "lamina · stack" in text and "● 2 " in text)
        pages = int(re.search(r"● 2 .*\+([\d,]+) ", shown).group(1))  # type: ignore[union-attr]
        assert 100 <= pages <= 132
        sidecar = (stack / "1" / "lamina.json").read_bytes()
        screen.press("x")
        screen.wait_for("Dry run: frees")
        screen.press("Enter")
        screen.wait_for(lambda text: "Dry run" not in text)
        assert (stack / "1" / "lamina.json").read_bytes() == sidecar

        screen.press("Down", "r")
        screen.wait_for(lambda text: "Restore layer 1 of cells" in text and "It will be ended" in text and "--replace" in text)
        screen.press("Escape")
        screen.wait_for(lambda text: "It will be ended" not in text)
        assert victim.ask() == after
        screen.press("r")
        screen.wait_for("It will be ended")
        screen.press("Right", "Right", "Enter")
        screen.wait_for("is back at layer 1")
        assert victim.ask() == before

        screen.wait_for(on_layer("1"))
        screen.press("d")
        screen.wait_for(on_layer("3"))
        assert (stack / "3" / "parent").readlink() == Path("../1")
        screen.press("5")
        screen.wait_for("lamina · jobs")
        if size[0] < 100:
            show_command_log(screen)
        screen.wait_for(lambda text: "lamina restore -D" in text and "lamina track -t" in text)
        screen.press("q")
        screen.wait_for(f"lamina untrack -t {victim.pid}")
    assert victim.ask() == before


def test_the_settings_are_typed_in_the_users_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "thme = 1" >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    with terminal(tmp_path / "tmux", lamina_command(), 100, 30) as screen:
        screen.wait_for("PID NAME")
        screen.press(":")
        screen.wait_for("layer 3, pid 4711")
        screen.type("settings")
        screen.press("Enter")
        screen.wait_for("did you mean theme?")
    assert "# columns = []" in (tmp_path / "config/lamina/config.toml").read_text()
