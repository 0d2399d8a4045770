"""Hundreds of keys at random: the app neither falls nor hangs, and without an answer to a dialog the program stays what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.harness import PATIENCE_S, ROOT, need, need_root

KEYS = 250


def start(tmp_path: Path, seed: int, *options: str) -> "subprocess.Popen[str]":
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "tests.tui.monkey", str(seed), str(KEYS)]
    place = tmp_path / str(seed)
    place.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), "HOME": str(place), "PAGER": "true", "EDITOR": "true"}
    return subprocess.Popen(
        [*words, *options], cwd=place, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def outcome(monkey: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        out, err = monkey.communicate(timeout=PATIENCE_S * 2)
    finally:
        monkey.kill()
    assert monkey.returncode == 0, err[-4000:]
    came: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert not came["last words"] and not came["internal"], came
    return came


def test_random_keys(tmp_path: Path) -> None:
    need_root()
    need("unshare")
    both = start(tmp_path, 1, "--readonly"), start(tmp_path, 2)
    looked, acted = (outcome(monkey) for monkey in both)
    assert looked["same program"] and not looked["descriptors"] and not looked["layers"], looked
    assert set(looked["jobs"]) <= {"verify", "plan"}, looked
    assert acted["jobs"], "the monkey has done nothing"
    assert acted["same program"] or acted["dared"], acted
