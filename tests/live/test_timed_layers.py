"""`lamina every` on a real program: by what it writes, by the clock, and how it ends."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.live.harness import PATIENCE_S, Reaper, Victim, lamina, lamina_command, restore, start_c


class Every:
    """A `lamina every` that runs beside the test."""

    def __init__(self, victim: Victim, *args: object) -> None:
        command = lamina_command("every", *args, "--tree", victim.pid, "--json")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)

    def layer(self) -> Any:
        """Its next answer; it ends by itself if there is none, and then this fails."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        return json.loads(line)

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it said on standard error."""
        said = self.process.communicate(timeout=PATIENCE_S)[1]
        return self.process.returncode, said


def test_layers_by_what_is_written_and_by_the_clock(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 8)
    stack = tmp_path / "shots"
    every = Every(victim, "-D", stack, "--dirtied", "2M", "--count", 3)
    assert every.layer()["why"] == "the first one"
    victim.ask("write 600 1")
    second = every.layer()
    assert 600 <= second["stats"]["pages_written"] <= 660 and second["why"].endswith("MiB dirtied")
    at_two = victim.ask()
    victim.keep_files(stack / "2")
    victim.ask("write 600 2")
    assert every.layer()["images_dir"] == str(stack / "3")
    assert every.ended() == (0, "")
    assert victim.ask() != at_two

    every = Every(victim, "1s", "-D", stack, "--keep-last", 2)
    layers = [every.layer() for _ in range(3)]
    every.process.send_signal(signal.SIGINT)
    assert every.ended() == (0, "")
    assert [it["why"] for it in layers] == ["the first one", "1 s went by", "1 s went by"]
    assert layers[2]["removed"] == [str(stack / "4")]
    assert sorted(path.name for path in stack.iterdir() if not path.name.startswith(".")) == ["1", "2", "3", "5", "6"]
    lamina("verify", stack / "6")

    restore(victim, stack / "2")
    assert victim.ask() == at_two

    every = Every(victim, "1s", "-D", stack)
    every.layer()
    victim.end()
    status, said = every.ended()
    assert status == 0 and "has ended, after 1 timed layer" in said
