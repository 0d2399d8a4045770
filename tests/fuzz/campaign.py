"""Many damaged copies of one set, each read in full: python -m tests.fuzz.campaign SET --cases N [--seed S] [--only CASE].

Prints one JSON object. A case is known by the set, the seed and its number, and is the same on every machine. For each case: no exception
but `LaminaError`, each of one line; no longer than `PATIENCE_S`; no more than `MORE_MEMORY` above what an undamaged set takes; no file
opened outside of the set. And where a sidecar with checksums still vouches for a layer, its memory is what it was before the damage.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lamina.core.errors import LaminaError
from lamina.core.image import format as fmt
from tests.corpus import unpack
from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import Answer, read_stack
from tests.fuzz.watch import Watch

PATIENCE_S = 30
MORE_MEMORY = 1 << 30
HELD = 20  # failures that are described; more are only counted


class TooLongError(Exception):
    """A case did not end."""


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLongError(f"it took more than {PATIENCE_S} s")


@contextmanager
def bounded() -> Iterator[None]:
    """Time and address space are limited meanwhile."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, old[1]))
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, old)


def files_named(stack: Path) -> frozenset[str]:
    """The files that the images of *stack* name: a page that no image holds is read from the mapped file, if that is still the same."""
    named = set()
    for path in stack.glob("*/files.img"):
        try:
            names = [entry.reg.name for entry in fmt.decode(path, fmt.FILES) if entry.HasField("reg")]
        except LaminaError:
            continue
        named |= {"/" + os.fsdecode(name) for name in names}
    return frozenset(named)


class Campaign:
    """The cases of one set."""

    def __init__(self, name: str, seed: int, scratch: Path) -> None:
        self._name, self._seed = name, seed
        self._stack = unpack(name, scratch / "work")
        outside = scratch / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(fmt.encode_image("fs", []) + b"a secret")
        self._cores = scratch / "cores"
        self._cores.mkdir()
        self._mutator = Mutator(unpack(name, scratch / "pristine"), self._stack, outside)
        self._watch = Watch()
        self._truth = read_stack(self._stack, self._cores)
        self.errors = 0

    def run(self, number: int) -> str:
        """One case; returns what was wrong, or ""."""
        rng = random.Random(f"{self._name}:{self._seed}:{number}")
        mutator = self._mutator
        mutator.damage(rng)
        try:
            with bounded(), self._watch.armed(self._stack, self._cores, files_named(self._stack)):
                answer = read_stack(self._stack, self._cores, frozenset(mutator.touched))
            self.errors += len(answer.said)
            wrong = "; ".join(dict.fromkeys(self._watch.violations)) or self._untrue(answer)
        except (Exception, TooLongError) as error:
            wrong = f"{error}: {_place(error)}" if isinstance(error, TooLongError) else "".join(traceback.format_exception(error)[-6:])
        said = f"{', '.join(mutator.log)}: {wrong}" if wrong else ""
        mutator.undo()
        return said

    def _untrue(self, answer: Answer) -> str:
        """What checksums vouch for is not what it was."""
        if self._mutator.tampered or not self._name.startswith("lamina"):
            return ""
        for key, digest in self._truth.memory.items():
            if key[0] in answer.whole and answer.memory.get(key, digest) != digest:
                return f"layer {key[0]} is called whole, and the memory of task {key[1]} is another"
        return ""

    def check_undone(self) -> str:
        """After all cases the copy reads as at first: no case was read through the damage of another."""
        same = read_stack(self._stack, self._cores)
        return (
            ""
            if (same.memory, same.said, same.whole) == (self._truth.memory, self._truth.said, self._truth.whole)
            else "the copy is not whole again"
        )


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", metavar="SET")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case, again")
    options = parser.parse_args()
    began = time.monotonic()
    failures: list[str] = []
    cases = range(options.cases) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory(prefix="lamina-fuzz-") as scratch:
        campaign = Campaign(options.name, options.seed, Path(scratch))
        slowest = 0.0
        for number in cases:
            start = time.monotonic()
            if wrong := campaign.run(number):
                failures.append(f"case {number}: {wrong}")
            slowest = max(slowest, time.monotonic() - start)
        if wrong := campaign.check_undone():
            failures.append(wrong)
        errors = campaign.errors
    json.dump(
        {
            "set": options.name, "seed": options.seed, "cases": len(cases), "errors_said": errors, "failed": len(failures),
            "failures": failures[:HELD], "slowest_s": round(slowest, 2), "seconds": round(time.monotonic() - began, 1),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        },
        sys.stdout,
    )  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
