"""A program started from a shell in a terminal: dumped, restored into the terminal, and Ctrl-C reaches it."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import PATIENCE_S, VICTIMS, Layers, Reaper, Victim, alive, dump, full, lamina, lamina_command, need, wait_gone


class Terminal:
    """A tmux server of our own with one shell in it."""

    def __init__(self, directory: Path, reaper: Reaper) -> None:
        self._socket = directory / "tmux"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "env PS1='$ ' bash --norc --noprofile")
        reaper.watch(int(self.tmux("display", "-p", "#{pid}")))
        self._told = directory / "told"
        os.mkfifo(self._told)

    def tmux(self, *words: str) -> str:
        return subprocess.run(["tmux", "-S", self._socket, *words], check=True, capture_output=True, text=True).stdout.strip()

    def type(self, text: str, enter: bool = True) -> None:
        self.tmux("send-keys", "-l", text)
        if enter:
            self.tmux("send-keys", "Enter")

    def key(self, name: str) -> None:
        self.tmux("send-keys", name)

    def hear(self) -> str:
        """Wait until the shell writes a word to the fifo `told`."""
        done = subprocess.run(["timeout", str(PATIENCE_S), "cat", self._told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the shell says nothing: {self.screen()}"
        return done.stdout.strip()

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    @property
    def told(self) -> str:
        return shlex.quote(str(self._told))


@pytest.fixture
def terminal(tmp_path: Path, reaper: Reaper) -> Iterator[Terminal]:
    need("tmux")
    found = Terminal(tmp_path, reaper)
    yield found
    subprocess.run(["tmux", "-S", tmp_path / "tmux", "kill-server"], check=False, capture_output=True)


def start_in(terminal: Terminal, directory: Path, reaper: Reaper) -> Victim:
    directory.mkdir()
    (directory / "out").touch()
    os.mkfifo(directory / "answer")
    program = shlex.join([sys.executable, str(VICTIMS / "python_counter.py"), str(directory), "show"])
    terminal.type(f"sh -c 'echo $$ > {terminal.told}; exec {program}'")
    pid = int(terminal.hear())
    reaper.watch(pid)
    victim = Victim(pid, directory, reaper)
    victim.ask()
    return victim


def steps(victim: Victim) -> int:
    return int(victim.ask()["chains"][0]["steps"])


def wait_for_new_line(terminal: Terminal, victim: Victim) -> None:
    """A step the program made after now must appear on the screen."""
    wanted = steps(victim) + 2
    for _ in range(500):
        shown = [int(line.split()[1]) for line in terminal.screen().splitlines() if line.startswith("step ") and line.split()[1].isdigit()]
        if shown and max(shown) >= wanted:
            return
        victim.ask()
    raise AssertionError(f"step {wanted} does not appear: {terminal.screen()}")


@pytest.mark.parametrize("round_number", range(full(10, 1)))
def test_a_shell_job_comes_back_to_the_terminal(
    round_number: int, terminal: Terminal, reaper: Reaper, layers: Layers, tmp_path: Path
) -> None:
    victim = start_in(terminal, tmp_path / "victim", reaper)

    refused = dump(victim, layers.new(), ok=False)
    assert refused.status == 1 and "--shell-job" in refused.err, refused.said

    first, second = layers.new(), layers.new()
    before = steps(victim)
    dump(victim, first, "--shell-job")
    after = steps(victim)
    wait_for_new_line(terminal, victim)
    dump(victim, second, "--shell-job", parent=first, last=True)

    for layer in (first, second):
        restore = shlex.join(lamina_command("restore", "--shell-job", "--images-dir", layer))
        terminal.type(f"{restore}; echo $? > {terminal.told}")
        wait_for_answer(victim)
        now = steps(victim)
        assert now >= before and (layer is second or now <= after + 100)
        wait_for_new_line(terminal, victim)
        terminal.key("C-c")
        assert terminal.hear() == "7", "the program's exit status is lamina's"
        wait_gone(victim.pid)
        assert not alive(victim.pid)


READER = """
import os, signal, sys
heard = []
signal.signal(signal.SIGCONT, lambda *_: heard.append("SIGCONT"))
open(sys.argv[1], "w").write(str(os.getpid()))
print("heard", heard, "read", input())
"""


def test_one_that_reads_hears_of_nothing(terminal: Terminal, reaper: Reaper, layers: Layers) -> None:
    """It gets the terminal, and input, and no signal that it would not get if nothing had happened."""
    terminal.type(f"{shlex.join([sys.executable, '-c', READER])} {terminal.told}")
    pid = int(terminal.hear())
    reaper.watch(pid)
    layer = layers.new()
    lamina("dump", "-t", pid, "-D", layer, "--shell-job")
    wait_gone(pid)
    terminal.type(f"{shlex.join(lamina_command('restore', '--shell-job', '--images-dir', layer))}; echo $? > {terminal.told}")
    wait_for(pid)
    terminal.type("words")
    assert terminal.hear() == "0" and "heard [] read words" in terminal.screen()


def wait_for_answer(victim: Victim) -> None:
    """Until the pid exists there is nobody to ask."""
    wait_for(victim.pid)
    victim.ask()


def wait_for(pid: int) -> None:
    """Until it is restored."""
    deadline = time.monotonic() + PATIENCE_S
    while not alive(pid):
        assert time.monotonic() < deadline, "nothing is restored"
        time.sleep(0.01)
