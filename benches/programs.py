"""The program that is dumped and restored."""

import subprocess
from pathlib import Path

from tests.live.harness import Reaper, Victim, start

ROOT = Path(__file__).resolve().parents[1]


def launch(reaper: Reaper, where: Path, mib: int, tasks: int = 1) -> Victim:
    """bench_victim.c with *mib* MiB of memory, all of it touched, shared by *tasks* processes."""
    built = ROOT / "build/victims/bench_victim"
    built.parent.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("bench_victim.c")
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:  # else one that runs would lose its file
        include = f"-I{ROOT / 'tests/victims'}"
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-pthread", include, "-o", built, source], check=True)
    return start(reaper, where, [built, str(where), str(mib), str(tasks)])
