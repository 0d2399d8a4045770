"""The criu on PATH, as a user calls it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.live.harness import Victim, tree_of, wait_gone

# criu and crit are not on the PATH of every shell.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@cache
def why_not() -> str:
    """Why the criu here cannot be used with this kernel, in its own words; "" if it can."""
    if shutil.which("criu", path=PATH) is None:
        return "criu is not installed (apt-get install criu)"
    asked = subprocess.run(["criu", "check"], capture_output=True, text=True, check=False, env=os.environ | {"PATH": PATH})
    if asked.returncode == 0:
        return ""
    said = [line for line in asked.stderr.splitlines() if line.startswith("Error")]
    return said[0] if said else f"criu check: status {asked.returncode}"


def criu(verb: str, layer: Path, *options: object) -> None:
    """Run criu on *layer*; if it fails, so does the test, with what it wrote to its log."""
    log = layer / f"{verb}.log"
    words = ["criu", verb, "-D", layer, "-o", log.name, "-v4", *options]
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PATH": PATH},
    )
    told = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else done.stderr
    assert done.returncode == 0, f"{' '.join(str(word) for word in words)}: status {done.returncode}\n{told}"


def criu_dump(victim: Victim, layer: Path, *options: object, parent: Path | None = None, last: bool = False) -> None:
    """Dump *victim* as `lamina dump` would be asked to; the *last* dump ends it."""
    words: list[object] = ["-t", victim.pid, "--track-mem", *options]
    if not last:
        words.append("--leave-running")
    if parent is not None:
        words += ["--prev-images-dir", os.path.relpath(parent, layer)]
    tree = tree_of(victim.pid)
    criu("dump", layer, *words)
    victim.keep_files(layer)
    if last:
        for pid in tree:
            wait_gone(pid)


def criu_restore(victim: Victim, layer: Path, *options: object) -> None:
    """End *victim* if it runs, put its files back, and restore it from *layer*; criu ends, the test adopts what it made."""
    victim.end()
    victim.put_back(layer)
    criu("restore", layer, "--restore-detached", *options)
