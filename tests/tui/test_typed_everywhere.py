"""Keys typed ahead at every speed, generated with the place they are meant for, while others use the processor: no operation out of its
place, no letter lost. 200,000 of them under `make live`.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import ROOT, full

# Keys of one lamina, and how long it may take for them on a loaded machine (s).
KEYS, PATIENCE_S = full(5000, 250), full(3600, 240)
_BUSY = "while True: pass"


@pytest.mark.parametrize("seed", range(full(20, 1)))
def test_every_key_finds_its_place(tmp_path: Path, tally: Counter[str], seed: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    others: list[subprocess.Popen[str]] = [subprocess.Popen([sys.executable, "-c", _BUSY], text=True) for _ in range(full(2, 0))]
    typists: list[subprocess.Popen[str]] = []
    try:
        for number in (2 * seed, 2 * seed + 1)[: full(2, 1)]:
            place = tmp_path / str(number)
            place.mkdir()
            words = [sys.executable, "-m", "tests.tui.typist", str(number), str(KEYS)]
            typists.append(subprocess.Popen(words, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        for typist in typists:
            out, err = typist.communicate(timeout=PATIENCE_S)
            assert typist.returncode == 0, err[-4000:]
            came = json.loads(out)
            assert not came["wrong"] and not came["last words"], json.dumps(came["wrong"], indent=1, ensure_ascii=False)
            assert came["typed"] >= KEYS
            tally["keys typed ahead"] += came["typed"]
            tally["rounds of them, each ending where it was meant to"] += came["rounds"]
    finally:
        for process in (*others, *typists):
            process.kill()
            process.wait()
