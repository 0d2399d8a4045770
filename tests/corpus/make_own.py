"""Makes the sets that lamina itself wrote; needs root, tar and xz: python -m tests.corpus.make_own tests/corpus."""

import json
import shutil
import sys
from pathlib import Path

from lamina.core.image.layer import Layer
from tests.corpus.make import begin, layers_of, pack
from tests.live.harness import Reaper, dump, lamina, reaping


def three(reaper: Reaper, work: Path) -> Path:
    """pair: three full dumps on each other; the second then lost what the third has."""
    victim = begin(reaper, work, "pair", "64")
    layers = layers_of(work, ("1", "2", "3"))
    for n, layer in enumerate(layers):
        victim.ask(f"write {8 + n} {n}")
        dump(victim, layer, parent=layers[n - 1] if n else None, last=n == 2)
    return work / "stack"


def deduped(reaper: Reaper, work: Path) -> Path:
    """As `three`, after `lamina dedup` of the last: what it has itself is punched in the others, and recorded."""
    stack = three(reaper, work)
    lamina("dedup", "-D", stack / "3")
    return stack


def anonymous(stack: Path) -> None:
    """Take the names of machine and kernel out of the sidecars."""
    for path in stack.iterdir():
        sidecar = Layer(path).file("lamina.json")
        value = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps(value | {"host": "corpus", "kernel": "Linux 6.18 x86_64"}))


def main() -> None:
    """Make all sets."""
    for name, make in (("three", three), ("deduped", deduped)):
        work = Path("/run/corpus") / f"own-{name}"
        work.mkdir(parents=True)
        with reaping() as reaper:
            stack = make(reaper, work)
        anonymous(stack)
        archive = Path(sys.argv[1]) / "lamina-0.1" / f"{name}.tar.xz"
        pack(stack, archive)
        shutil.rmtree(work)
        print(f"{name}: {archive.stat().st_size} bytes")


if __name__ == "__main__":
    main()
