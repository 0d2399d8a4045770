"""SIGKILL of lamina while it changes a stack, at random moments: every layer that could be restored still can, or says why not.

The stack is of a real program. `test_rewrite_steps` lets the same verbs die before each single change that they make; here the moments are
those of the real clock, with real fsyncs and megabytes being copied.
"""

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
from lamina.core.image.sidecar import new_layer_id
from tests.live.harness import Layers, dump, full, lamina, lamina_command, need_root, reaping
from tests.live.programs import Cells
from tests.unit.rewrite.surviving import VERBS, Verb, known_layers, leftovers_of, require_all

# How often lamina is killed in each of the verbs that most is asked of, and in each of the others.
OFTEN = ("squash", "drop", "prune", "dedup", "import")
TIMES, SELDOM = full(100, 5), full(20, 0)


class Small(Cells):
    """Enough that copying takes a while, little enough to be copied a hundred times."""

    mib = 8
    pages_per_layer = 150


def twin(layer: Path, name: str) -> Path:
    """Another layer of the same memory on the same parent: a branch."""
    made = layer.parent / name
    shutil.copytree(layer, made, symlinks=True)
    sidecar = Layer(made).sidecar
    assert sidecar is not None
    replace(sidecar, layer_id=new_layer_id()).store(made)
    return made


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """1 ← … ← 6 as dumped from a running program, 3b on 3, and old, on 4, in the trash."""
    need_root()
    base = tmp_path_factory.mktemp("shaped")
    layers = Layers(base / "S")
    with reaping() as reaper:
        program = Small.launch(reaper, base / "victim")
        above = None
        for _ in range(6):
            program.move_on()
            layer = layers.new()
            dump(program.victim, layer, parent=above)
            above = layer
        lamina("untrack", "-t", program.victim.pid)
    twin(base / "S/4", "3b")
    lamina("drop", twin(base / "S/5", "old"))
    yield base / "S"
    shutil.rmtree(base)


def killed_after(seconds: float, *words: object) -> bool:
    """Run lamina and kill it; False if it had ended by itself, and well."""
    process = subprocess.Popen(lamina_command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        # The moment is what is random: nothing is awaited here.
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL
    assert process.returncode == 0, err
    return False


def took(*words: object) -> float:
    began = time.monotonic()
    lamina(*words)
    return time.monotonic() - began


@pytest.mark.parametrize("verb", [it for it in VERBS if SELDOM or it.name in OFTEN], ids=lambda verb: verb.name.replace(" ", "-"))
def test_every_layer_survives(verb: Verb, stack: Path, tmp_path: Path, tally: Counter[str]) -> None:
    untouched, place = tmp_path / "untouched", tmp_path / "S"
    shutil.copytree(stack, place, symlinks=True)
    for words in verb.before(place):
        lamina(*words)
    known = known_layers(place)
    shutil.copytree(place, untouched, symlinks=True)
    low = took("trash", place) * 0.7  # by then it has only been imported
    high = took(*verb.words(place))
    require_all(place, known, verb)
    dice = random.Random(verb.name)
    wanted, kills = TIMES if verb.name in OFTEN else SELDOM, 0
    latest = high
    for _ in range(8 * wanted):
        if kills == wanted:
            break
        shutil.rmtree(place)
        shutil.copytree(untouched, place, symlinks=True)
        if killed_after(dice.uniform(low, high), *verb.words(place)):
            kills += 1
            high = min(high * 1.03, latest)
            tally[f"lamina killed in {verb.name}"] += 1
        else:
            high = max(high * 0.9, low * 1.1)
        require_all(place, known, verb)
        lamina("label", next(path for path in (place / "6", place / "3b", place / "1") if path.is_dir()), "swept")
        assert leftovers_of(place) == []
        require_all(place, known, verb)
    assert kills, "it was always faster"
