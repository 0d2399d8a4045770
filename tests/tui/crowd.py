"""Many real processes that only wait, for what has to stay fast or to stay put when there are many."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.harness import build


class Crowd:
    """A root process and what is below it; see tests/victims/crowd.c."""

    def __init__(self, program: Path, many: int, family: int, tag: str) -> None:
        self._process = subprocess.Popen(
            [program, str(many), str(family), tag], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        answer = self._process.stdout.readline()  # type: ignore[union-attr]
        assert answer, f"{many} processes cannot be started here"
        self.pid = self._process.pid

    def _ask(self, wish: str) -> int:
        self._process.stdin.write(wish + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return int(self._process.stdout.readline())  # type: ignore[union-attr]

    def add(self) -> int:
        """One more child of the root; returns its pid."""
        return self._ask("+")

    def take(self, pid: int) -> None:
        """End *pid*, one that `add` started; it is reaped on return."""
        self._ask(f"-{pid}")

    def close(self) -> None:
        """End all of them; they are reaped on return."""
        self._process.communicate()


@contextmanager
def crowd(many: int, family: int = 100, tag: str = "") -> Iterator[Crowd]:
    """*many* processes below one, in families of *family*; *tag* is how their names begin."""
    found = Crowd(build("crowd"), many, family, tag)
    try:
        yield found
    finally:
        found.close()
