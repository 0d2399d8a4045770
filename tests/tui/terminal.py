"""A terminal driven by keys only: tmux on a socket of its own."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.harness import PATIENCE_S, ROOT, need, reap_orphans


class Terminal:
    """One tmux server with one window."""

    def __init__(self, directory: Path, command: Sequence[str], width: int, height: int) -> None:
        self._socket = directory / "tmux"
        shell = f"cd {ROOT} && {shlex.join(command)}; read wait"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), shell)

    def _tmux(self, *words: str) -> str:
        # TMUX is the developer's own server; COLUMNS and LINES, which pytest sets for its workers, win over the size of a terminal.
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "COLUMNS", "LINES")}
        env |= {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        return subprocess.run(["tmux", "-S", self._socket, *words], check=True, capture_output=True, text=True, env=env).stdout

    def press(self, *keys: str) -> None:
        """Keys as tmux names them: "d", "Down", "Enter", "Escape"."""
        for key in keys:
            self._tmux("send-keys", key)

    def type(self, text: str) -> None:
        """Letters."""
        self._tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        """Its window has another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def ask(self, about: str) -> str:
        """A tmux format of its pane, as in "#{pane_pid}"."""
        return self._tmux("display-message", "-p", about).strip()

    @staticmethod
    def children(pid: int) -> list[int]:
        """The processes that *pid* started."""
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def screen(self) -> str:
        """What can be read on it."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, wanted: str | Callable[[str], bool], patience: float = PATIENCE_S) -> str:
        """Wait until the screen shows *wanted*; returns it. A terminal says nothing when it changes, so it is looked at again and again."""
        deadline = time.monotonic() + patience
        while True:
            screen = self.screen()
            if wanted(screen) if callable(wanted) else wanted in screen:
                return screen
            assert time.monotonic() < deadline, f"waiting for {wanted!r}, the screen shows:\n{screen}"
            # The victims are our children: a restore waits until the one it ended is reaped.
            reap_orphans()
            time.sleep(0.02)

    def close(self) -> None:
        """End this server; no other is touched."""
        self._tmux("kill-server")


@contextmanager
def terminal(directory: Path, command: Sequence[str], width: int = 100, height: int = 30) -> Iterator[Terminal]:
    """A terminal in which *command* runs."""
    need("tmux")
    directory.mkdir(parents=True, exist_ok=True)
    found = Terminal(directory, command, width, height)
    try:
        yield found
    except AssertionError:
        print(found.screen())
        raise
    except BaseException as error:
        pytest.fail(f"{error}\n{found.screen()}")
    finally:
        found.close()
