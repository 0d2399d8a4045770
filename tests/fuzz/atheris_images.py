"""Coverage-guided fuzzing of the decoders: python -m tests.fuzz.atheris_images [LIBFUZZER OPTIONS] [CORPUS].

The first byte of an input says which kind of image the rest is (`targets.read_any`).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lamina.core.image"]):
    from tests.fuzz import targets

from lamina.core.image import format as fmt
from tests.corpus import NAMES, unpack


def seeds(scratch: Path) -> Iterator[bytes]:
    """Every small file of the real sets, in the form that `targets.read_any` takes."""
    kinds = sorted(fmt.IMAGES)
    for name in NAMES:
        for path in sorted(unpack(name, scratch).glob("*/*")):
            kind = fmt.kind_of_file(path.name)
            if path.is_symlink() or path.stat().st_size > 4096:
                continue
            data = path.read_bytes()
            if kind is not None:
                yield bytes([kinds.index(kind.name)]) + data.removeprefix(kind.head_bytes)
                if kind is fmt.PAGEMAP:
                    yield bytes([len(kinds)]) + data.removeprefix(kind.head_bytes)
            elif path.name == "lamina.json":
                yield bytes([len(kinds) + 1]) + data


def write_seeds(into: Path, scratch: Path) -> int:
    """Put the seeds into the directory *into*; returns how many there are."""
    count = 0
    for data in seeds(scratch):
        (into / f"seed-{count:04}").write_bytes(data)
        count += 1
    return count


def one_input(data: bytes) -> None:
    targets.read_any(data)


if __name__ == "__main__":
    if "--write-seeds" in sys.argv:
        print(write_seeds(Path(sys.argv[-2]), Path(sys.argv[-1])))
    else:
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
