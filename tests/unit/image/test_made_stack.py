"""100 layers, 10 GiB, 2,000,000 runs: what is done by map takes a second and little memory, and grows in runs, not in bytes.

Each measurement is a process of its own, so that its peak of memory is its own. Times are the processor's: the maps are cached,
and what else the machine does beside the tests is not measured.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.inspect.diff import diff
from lamina.core.verify import check_chain
from tests.made_stack import PID, Shape, everything, make_stack
from tests.unit.image.stacks import new_stack

MEMORY_MIB = 500
ASKED = Shape()


def owner_map(last: Layer, before: Layer) -> None:
    """Who owns each page, in full: also by layer."""
    owned = resolve(last.chain(), PID)
    assert owned.shares


def by_map(last: Layer, before: Layer) -> None:
    """diff with the layer before it, by map."""
    assert diff(before, last, contents=False).memory


def verify_fast(last: Layer, before: Layer) -> None:
    """verify --fast."""
    assert [finding.why for finding in check_chain(last)] == []


WORK: dict[str, Callable[[Layer, Layer], None]] = {"owner map": owner_map, "diff by map": by_map, "verify --fast": verify_fast}


def measure(what: str, last: Path, before: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one piece of work in a process that begins with nothing read; the best of two."""
    runs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.image.test_made_stack", what, last, before], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        seconds, mib = json.loads(done.stdout)
        runs.append((float(seconds), float(mib)))
    return min(seconds for seconds, _ in runs), max(mib for _, mib in runs)


def work_here(what: str, last: str, before: str) -> None:
    """What `measure` runs: prints seconds and peak MiB. Interpreter and libraries are loaded before the clock starts."""
    layers = Layer(Path(last)), Layer(Path(before))
    begin = time.process_time()
    WORK[what](*layers)
    took = time.process_time() - begin
    # VmHWM, not ru_maxrss: that one begins with what the parent had when it forked.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps([took, int(peak.split()[1]) / 1024]))


@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("in_leaf", [False, True], ids=["runs in all layers", "runs in the last"])
def test_a_big_stack_takes_a_second(what: str, in_leaf: bool) -> None:
    with new_stack() as stack:
        make_stack(stack, replace(ASKED, in_leaf=in_leaf))
        seconds, mib = measure(what, stack / "99", stack / "98")
    assert mib < MEMORY_MIB, f"{what}: {mib:.0f} MiB"
    assert seconds < 1.0, f"{what}: {seconds:.2f} s"


@pytest.mark.parametrize("what", WORK)
def test_it_grows_in_runs_and_not_in_bytes(what: str) -> None:
    base = replace(ASKED, runs=1_000_000)
    took = {}
    for name, shape in (("base", base), ("runs", replace(base, runs=2_000_000)), ("bytes", replace(base, logical_bytes=100 << 30))):
        with new_stack() as stack:
            make_stack(stack, shape)
            took[name] = measure(what, stack / "99", stack / "98")
    # Twice the runs: at most twice the time (half as much again for noise). Ten times the bytes: as before; the pieces of the answer are
    # up to twice as many, because fewer of the scattered pages meet.
    assert took["runs"][0] < 3 * took["base"][0], took
    assert took["bytes"][0] < 2 * took["base"][0], took
    assert took["bytes"][1] < 2 * took["base"][1], took


def test_the_made_stack_is_what_it_says(tmp_path: Path) -> None:
    shape = Shape(layers=5, logical_bytes=4 << 20, runs=200)
    last = make_stack(tmp_path, shape)
    chain = last.chain()
    assert len(chain) == 5
    owned = resolve(chain, PID)
    assert owned.runs == everything(shape) and not owned.missing
    assert 190 < sum(len(layer.pagemap(PID)) for layer in chain) < 210
    assert all(layer.info("pages-1.img").size == layer.pagemap(PID).data_bytes for layer in chain)  # type: ignore[union-attr]


if __name__ == "__main__":
    work_here(*sys.argv[1:])
