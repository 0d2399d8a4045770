"""tests/victims/memory.c from the test's side: a process that does to its memory what it is told, and is reaped by its pid."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import Area, read_maps
from lamina.core.dirty.runs import PAGE, PageRuns

SOURCE = Path(__file__).parents[1] / "victims" / "memory.c"
MIB = 1 << 20
MADV_DONTNEED, MADV_FREE, MADV_COLLAPSE = 4, 8, 25
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2


class Victim:
    """One running victim; every method answers when the victim has done it."""

    def __init__(self, binary: Path) -> None:
        self._process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self._process.pid
        assert self._line() == "ready"
        self.identity: Identity = identify(self.pid)

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def say(self, line: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._line()

    def ask(self, *words: object) -> int:
        return int(self.say(" ".join(map(str, words))))

    def map(self, size: int, kind: str = "small") -> int:
        return self.ask("map", size, kind)

    def write(self, address: int, count: int = 1, stride: int = PAGE, value: int = 1) -> PageRuns:
        """Write a byte to *count* places and say which pages those are."""
        self.ask("write", address, count, stride, value)
        return PageRuns.from_pages([(address + i * stride) // PAGE * PAGE for i in range(count)])

    def area(self, address: int) -> Area:
        return next(area for area in read_maps(self.pid) if area.start <= address < area.end)

    def areas(self) -> list[Area]:
        return read_maps(self.pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def build(directory: Path) -> Path:
    binary = directory / "memory"
    if not binary.exists():
        subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", binary, SOURCE, "-lpthread"], check=True)
    return binary


@contextmanager
def victim_in(directory: Path) -> Iterator[Victim]:
    victim = Victim(build(directory))
    try:
        yield victim
    finally:
        victim.end()


def own_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def own_rss() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
