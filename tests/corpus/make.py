"""Makes the sets of this directory with the criu on PATH; run inside a guest by `make kernels ARGS="--make-corpus"`.

python -m tests.corpus.make OUT
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernels.criu import criu, criu_dump
from tests.live.harness import VICTIMS, Reaper, Victim, reaping, start


def version() -> str:
    """Of the criu on PATH."""
    said = subprocess.run(["criu", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


def pack(stack: Path, archive: Path) -> None:
    """Archive the layers below *stack*, without logs; holes stay holes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    words = ["tar", "--create", "--xz", "--sparse", "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--exclude=*.log"]
    names = sorted(path.name for path in stack.iterdir())
    subprocess.run([*words, f"--file={archive}", f"--directory={stack}", *names], check=True)


def built(name: str, to: Path) -> Path:
    """A victim without shared libraries: its images are small."""
    program = to / "bin" / name
    program.parent.mkdir()
    subprocess.run(["gcc", "-static", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", program, VICTIMS / f"{name}.c"], check=True)
    return program


def begin(reaper: Reaper, work: Path, name: str, *args: str) -> Victim:
    """Start a static victim in a directory of its own."""
    return start(reaper, work / name, [built(name, work), str(work / name), *args])


def layers_of(work: Path, names: Sequence[str]) -> list[Path]:
    """Empty layers."""
    stack = work / "stack"
    for name in names:
        (stack / name).mkdir(parents=True)
    return [stack / name for name in names]


def three(reaper: Reaper, work: Path) -> Path:
    """pair: two threads, three full dumps, the last of which ended it."""
    victim = begin(reaper, work, "pair", "64")
    layers = layers_of(work, ("1", "2", "3"))
    for n, layer in enumerate(layers):
        victim.ask(f"write {8 + n} {n}")
        criu_dump(victim, layer, parent=layers[n - 1] if n else None, last=n == 2)
    return work / "stack"


def kinds(reaper: Reaper, work: Path, dedup: bool) -> Path:
    """kinds: a pre-dump, a dump on it, and a last dump; *dedup*: then taken out of the ancestors what the last one holds."""
    victim = begin(reaper, work, "kinds")
    layers = layers_of(work, ("pre", "full", "last"))
    options = ("--file-locks", "--ext-unix-sk", "--tcp-established", "--shell-job")
    victim.ask("write 40")
    criu("pre-dump", layers[0], "-t", victim.pid, "--track-mem")
    victim.ask("write 20")
    criu_dump(victim, layers[1], *options, parent=layers[0])
    victim.ask("write 10")
    criu_dump(victim, layers[2], *options, parent=layers[1], last=True)
    if dedup:
        criu("dedup", layers[2])
    return work / "stack"


def main() -> None:
    """Make all sets."""
    out = Path(sys.argv[1]) / f"criu-{version()}"
    for name, make in (
        ("three", three),
        ("kinds", lambda reaper, work: kinds(reaper, work, False)),
        ("deduped", lambda reaper, work: kinds(reaper, work, True)),
    ):
        work = Path("/run/corpus") / name
        work.mkdir(parents=True)
        with reaping() as reaper:
            pack(make(reaper, work), out / f"{name}.tar.xz")
            print(f"{name}: {(out / f'{name}.tar.xz').stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
