"""However lamina ends, the terminal is as before, one line says why, and the exit status tells."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal, terminal

# A bug, as one of ours would be: in the handler of a key.
BUG = (
    "import sys; from lamina.tui import __main__ as m; from lamina.tui.app.lamina import LaminaApp; "
    "LaminaApp.action_help = lambda _: 1 // 0; sys.exit(m.main(sys.argv[1:]))"
)

SIGNALS = {"term": signal.SIGTERM, "hup": signal.SIGHUP}


def opened(screen: Terminal) -> int:
    """Wait for lamina; returns its pid."""
    screen.wait_for("RSS")
    assert screen.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag}") == "1 0 1"
    (shell,) = screen.children(int(screen.ask("#{pane_pid}")))
    return screen.children(shell)[0]


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("bug", 1, "lamina: internal error: ZeroDivisionError"),
        ("term", 143, "lamina: ended by SIGTERM"),
        ("hup", 129, "lamina: ended by SIGHUP"),
        ("q", 0, ""),
    ],
)
def test_the_terminal_is_given_back(tmp_path: Path, how: str, status: int, said: str) -> None:
    with terminal(tmp_path / "tmux", ["sh", "-c", f"'{sys.executable}' -c '{BUG}' --stack '{tmp_path}/shots'; echo status=$?."]) as screen:
        pid = opened(screen)
        if how in SIGNALS:
            os.kill(pid, SIGNALS[how])
        else:
            screen.press("?" if how == "bug" else "q")
        shown = screen.wait_for(f"status={status}.")
        assert screen.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag}") == "0 1 0"
        assert said in shown and "Traceback" not in shown
        if not said:
            assert shown.split() == [f"status={status}."]
    if how == "bug":
        log = tmp_path / "xdg" / "lamina" / "crash.log"
        assert str(log) in shown.replace("\n", "")
        assert "ZeroDivisionError" in log.read_text()
