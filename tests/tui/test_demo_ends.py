"""However lamina ends, the demo program ends with it."""

import os
import signal
from pathlib import Path

import pytest

from tests.live.harness import lamina_command, need_root, tree_of, wait_gone
from tests.tui.terminal import Terminal, terminal


def processes(screen: Terminal) -> tuple[int, int]:
    """The pids of lamina and of the demo program."""
    shell = int(screen.ask("#{pane_pid}"))
    demo = next(pid for pid in tree_of(shell) if Path(f"/proc/{pid}/comm").read_text() == "crystal\n")
    return int(Path(f"/proc/{demo}/stat").read_text().rpartition(")")[2].split()[1]), demo


@pytest.mark.parametrize("how", ["q", "SIGTERM", "SIGKILL"])
def test_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    need_root()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with terminal(tmp_path / "tmux", lamina_command("--demo"), 80, 24) as screen:
        screen.wait_for("take the first layer")
        screen.wait_for("step 2")
        screen.press("d")
        screen.wait_for("on layer 1")
        lamina, demo = processes(screen)
        if how == "q":
            screen.press("q")
        else:
            os.kill(lamina, signal.Signals[how])
        wait_gone(demo)
        if how != "SIGKILL":
            wait_gone(lamina)
            assert not list(tmp_path.glob("lamina-demo-*"))
