"""Archives with bytes changed anywhere: the right answer or one clear line, whatever they are; bounded in memory and time."""

import random
import resource
import subprocess
import time
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.storage.archive import Archive
from lamina.core.verify import check_chain
from tests.live.harness import need_for_tar
from tests.unit.image.layers import Spec, make

ROUNDS = 150
FORMATS = ["--format=gnu -S", "--format=posix -S --sparse-version=1.0", "--format=posix -S --sparse-version=0.1", "--format=gnu -S --gzip",
           "--format=posix --zstd", "--format=gnu -S --xz"]  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stack")
    make(path, "0", Spec({7: set(range(20))}), tag=1)
    make(path, "1", Spec({7: {1, 2}}, {7: set(range(10, 20))}), "0", tag=2)
    with (path / "1/dump.log").open("wb") as file:
        for at in range(0, 40 << 12, 3 << 12):
            file.seek(at)
            file.write(b"line")
    return path


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or cut off; headers are hit more often than contents."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed))
        if rng.random() < 0.6:  # where a header says what follows
            at = min(512 * (at // 512) + rng.choice((0, 100, 124, 135, 156, 257, 386, 400, 482, 483)), len(changed) - 1)
        how = rng.random()
        if how < 0.6:
            changed[at] = rng.choice((0, 0xFF, 0x30, 0x37, 0x80, changed[at] ^ 1 << rng.randrange(8)))
        elif how < 0.8:
            changed[at : at + rng.randrange(1, 16)] = rng.randbytes(rng.randrange(16))
        else:
            end = at + 512 * rng.randrange(1, 4)
            changed[at:end] = changed[:512]
    return bytes(changed[: rng.randrange(1, len(changed))] if rng.random() < 0.1 else changed)


def fixed_sums(data: bytes) -> bytes:
    """With the checksum of every header made right again, so that what stands in the header is looked at."""
    changed = bytearray(data)
    for at in range(0, len(changed) - 511, 512):
        if changed[at + 257 : at + 262] == b"ustar":
            changed[at + 148 : at + 156] = b" " * 8
            changed[at + 148 : at + 156] = f"{sum(changed[at : at + 512]):06o}\0 ".encode()
    return bytes(changed)


@pytest.mark.parametrize("options", FORMATS)
def test_one_clear_line_or_a_right_answer(stack: Path, tmp_path: Path, options: str) -> None:
    good = tmp_path / "good.tar"
    need_for_tar(options)
    subprocess.run(["tar", *options.split(), "-cf", str(good), "-C", str(stack), "."], check=True)
    data, path = good.read_bytes(), tmp_path / "bad.tar"
    plain = "z" not in options
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        changed = mutate(data, rng)
        path.write_bytes(fixed_sums(changed) if plain and rng.random() < 0.7 else changed)
        started = time.monotonic()
        try:
            for name in sorted(Archive.open(path).layers):
                layer = Layer(path / name) if name else Layer(path)
                check_chain(layer, contents=True)
                for file in layer.names():
                    info = layer.info(file)
                    if info is not None and info.is_file and info.size < 1 << 24:
                        assert len(layer.read(file)) == info.size
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error) and str(error)
        assert time.monotonic() - started < 10, seed
    assert refused
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB
