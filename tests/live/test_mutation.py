"""What `verify` passes does not fail once processes exist: every field of every record of real sets, set to other values.

A part of it under `make test`; all of it, with the table of fields and outcomes, under LAMINA_LIVE=full.
"""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.live.harness import FULL, ROOT, full, need, need_root
from tests.mutation.sets import SETS

# Set → each which case is tried.
EVERY = dict.fromkeys(SETS, 3) | {"restorable": 1} if FULL else {"restorable": 90, "sessions": 200}


@pytest.mark.parametrize("name", EVERY)
def test_no_changed_set_passes_verify_and_fails_after_the_fork(name: str, tally: Counter[str]) -> None:
    change(name, tally, "--every", EVERY[name])


@pytest.mark.parametrize("name", ("restorable", "python_worker", "settings") if FULL else ("restorable",))
def test_nor_with_two_changes_in_one_record(name: str, tally: Counter[str]) -> None:
    change(name, tally, "--pairs", full(5000, 60))


def change(name: str, tally: Counter[str], *options: object) -> None:
    """Run the set *name* and hold what came of it against the promise."""
    need_root()
    need("unshare", *({"redis": ["redis-server"]}.get(name, [])))
    words = [sys.executable, "-m", "tests.mutation.run", name, *(str(word) for word in options)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False, timeout=full(7200, 300))
    assert ran.returncode == 0, ran.stderr[-4000:]
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert not said["failures"], "\n".join(said["failures"][:30])
    outcomes: Counter[str] = Counter()
    for field, outcome, count in said["counts"]:
        outcomes[outcome] += count
        if FULL:
            tally[f"{field}: {outcome}"] += count
    assert {"refused by verify", "restored"} <= set(outcomes), outcomes
    for outcome, count in outcomes.items():
        tally[f"changed fields of {name}: {outcome}"] += count
