"""A terminal that goes away takes lamina with it, every time: a screen nobody sees must not live on."""

import os
import select
import sys
from pathlib import Path

from tests.tui.terminal import terminal


def test_lamina_ends_when_its_terminal_is_closed(tmp_path: Path) -> None:
    for number in range(3):
        directory = tmp_path / str(number)
        with terminal(directory, [sys.executable, "-m", "lamina.tui", "--stack", str(directory / "shots")]) as screen:
            screen.wait_for("lamina")
            screen.wait_for("RSS")
            shell = int(screen.ask("#{pane_pid}"))
            pids = [int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()] or [shell]
            pidfd = os.pidfd_open(pids[0])
        try:
            assert select.select([pidfd], [], [], 20)[0], "lamina lives on without a terminal"
        finally:
            os.close(pidfd)
