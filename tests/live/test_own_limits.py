"""lamina under limits of its own (setrlimit(2)): one right line, soon, and the program goes on as it was; or it simply works."""

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, Victim, lamina, lamina_command, start_c

MIB = 1 << 20
LIMITS = [
    *((resource.RLIMIT_NOFILE, files, "64 are needed (raise the hard limit: ulimit -Hn 64)") for files in (8, 16, 63)),
    *((resource.RLIMIT_AS, space * MIB, "256 MiB are needed (raise the limit: ulimit -v unlimited)") for space in (60, 100, 200)),
    *((resource.RLIMIT_DATA, space * MIB, "96 MiB are needed (raise the limit: ulimit -d unlimited)") for space in (60, 90)),
    *((resource.RLIMIT_FSIZE, size, "ulimit -f") for size in (0, 100, 10_000, 3 * MIB)),
]


@pytest.fixture
def victim(reaper: Reaper, tmp_path: Path) -> Victim:
    return start_c(reaper, tmp_path / "victim", "cells", 4)


def under(which: int, limits: tuple[int, int], *args: object) -> "subprocess.CompletedProcess[str]":
    def limit() -> None:
        resource.setrlimit(which, limits)

    return subprocess.run(
        lamina_command(*args), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60, preexec_fn=limit
    )


@pytest.mark.parametrize(("which", "limit", "words"), LIMITS)
def test_too_little_is_one_line(which: int, limit: int, words: str, victim: Victim, layers: Layers) -> None:
    layer, descriptors = layers.new(), len(os.listdir(f"/proc/{victim.pid}/fd"))
    ran = under(which, (limit, limit), "dump", "-t", victim.pid, "-D", layer, "-R", "--track-mem")
    assert ran.returncode == 1 and words in ran.stderr and ran.stdout == "", ran.stderr
    assert len(ran.stderr.splitlines()) == 1 and ran.stderr.startswith("lamina: "), ran.stderr
    assert os.listdir(layer) == []
    assert len(os.listdir(f"/proc/{victim.pid}/fd")) == descriptors
    assert victim.ask()["wrong"] == 0


@pytest.mark.parametrize("argv", [(), ("--demo",), ("run", "--", "cat"), ("stack", "/"), ("ps", "--json")])
def test_every_way_in_says_it(argv: tuple[str, ...]) -> None:
    ran = under(resource.RLIMIT_NOFILE, (16, 16), *argv)
    assert ran.returncode == 1 and "with 16 open files" in ran.stdout + ran.stderr, ran
    assert len(ran.stderr.splitlines()) <= 1


ENOUGH: dict[str, Callable[[int], tuple[int, tuple[int, int]]]] = {
    "a low soft limit on files": lambda hard: (resource.RLIMIT_NOFILE, (8, hard)),
    "files": lambda hard: (resource.RLIMIT_NOFILE, (64, 64)),
    "address space": lambda hard: (resource.RLIMIT_AS, (800 * MIB, 800 * MIB)),
}


@pytest.mark.parametrize("name", ENOUGH)
def test_enough_is_enough(name: str, victim: Victim, layers: Layers) -> None:
    which, limits = ENOUGH[name](resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    ran = under(which, limits, "dump", "-t", victim.pid, "-D", layers.new(), "-R", "--track-mem")
    assert ran.returncode == 0, ran.stderr
    lamina("untrack", "-t", victim.pid)
    assert victim.ask()["wrong"] == 0
