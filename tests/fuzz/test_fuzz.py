"""Damaged images and stacks, seconds of it; with LAMINA_LIVE=full 10,000 damaged copies of each real set and ten
minutes of atheris."""

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.image import format as fmt
from tests.corpus import NAMES, unpack
from tests.fuzz import targets

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("LAMINA_LIVE") == "full"
CASES = 10_000 if FULL else 150
SEED = int(os.environ.get("LAMINA_FUZZ_SEED", "1"))
ATHERIS_S = 600 if FULL else 8


@pytest.fixture(scope="session")
def real_files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """The small files of all real sets."""
    found = []
    for name in NAMES:
        for path in sorted(unpack(name, tmp_path_factory.mktemp("sets")).glob("*/*")):
            if not path.is_symlink() and path.stat().st_size <= 4096:
                found.append((path.name, path.read_bytes()))
    assert len(found) > 100
    return found


@given(data=st.data())
def test_damaged_real_images(real_files: list[tuple[str, bytes]], data: st.DataObject) -> None:
    name, content = data.draw(st.sampled_from(real_files))
    raw = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    targets.read_image(name, bytes(raw))
    if name.startswith("pagemap"):
        targets.read_map(bytes(raw))
    if name == "lamina.json":
        targets.read_sidecar(bytes(raw))


@given(st.sampled_from(sorted(fmt.IMAGES)), st.binary(max_size=200))
def test_anything_behind_a_head(name: str, raw: bytes) -> None:
    kind = fmt.IMAGES[name]
    targets.read_image(f"{name}.img", kind.head_bytes + raw)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4), max_leaves=8), st.data())
def test_sidecars_of_any_shape(value: object, data: st.DataObject) -> None:
    fields = (
        "layer_id",
        "parent_id",
        "label",
        "time",
        "checksums",
        "punched",
        "punched_by",
        "restorable",
        "cpu_features",
        "page_size",
        "pid",
    )
    record = {"version": 1, "layer_id": "x", data.draw(st.sampled_from(fields)): value}
    targets.read_sidecar(json.dumps(record).encode())


@pytest.mark.parametrize("name", NAMES)
def test_damaged_copies_of_a_real_set(name: str, tally: Counter[str]) -> None:
    """In a process of its own: it limits its memory and watches what it opens. A failed case is run again with --only."""
    words = [sys.executable, "-m", "tests.fuzz.campaign", name, "--cases", str(CASES), "--seed", str(SEED)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.stdout, ran.stderr[-2000:]
    said = json.loads(ran.stdout)
    tally[f"damaged copies of {name}, read in full"] += said["cases"]
    assert not said["failed"], "\n".join(said["failures"])
    assert said["errors_said"] > CASES, "most damage is noticed"


def test_atheris(tmp_path: Path, tally: Counter[str]) -> None:
    """Guided by coverage, from the real images as seeds."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip(f"atheris (PyPI) has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]} on this machine")
    corpus, scratch = tmp_path / "corpus", tmp_path / "sets"
    corpus.mkdir()
    run = [sys.executable, "-m", "tests.fuzz.atheris_images"]
    subprocess.run([*run, "--write-seeds", corpus, scratch], check=True, cwd=ROOT, capture_output=True)
    limits = [f"-max_total_time={ATHERIS_S}", f"-seed={SEED}", "-max_len=8192", "-timeout=20", "-rss_limit_mb=2048"]
    ran = subprocess.run(
        [*run, *limits, f"-artifact_prefix={tmp_path}/", corpus], capture_output=True, text=True, errors="replace", cwd=ROOT, check=False
    )
    assert ran.returncode == 0, ran.stderr[-4000:] + "".join(path.read_bytes().hex() for path in tmp_path.glob("crash-*"))
    done = re.search(r"Done (\d+) runs", ran.stderr)
    assert done is not None, ran.stderr[-2000:]
    tally["inputs of atheris"] += int(done[1])


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz"])
def test_damaged_archives(suffix: str, tmp_path: Path) -> None:
    """A set in an archive, some of whose bytes are not what they were."""
    whole = tmp_path / f"whole.{suffix}"
    mode: Any = f"w:{suffix.removeprefix('tar').removeprefix('.')}"
    with tarfile.open(whole, mode) as archive:
        archive.add(unpack("lamina-0.1/three", tmp_path), ".")
    good, rng = whole.read_bytes(), random.Random(SEED)
    answers = set()
    for _ in range(400 if FULL else 25):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            # Headers of small files are many, pages most of the bytes: both are hit.
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(0, len(data), 512) + rng.randrange(512)
            data[min(at, len(data) - 1)] = rng.randrange(256)
        damaged = tmp_path / f"damaged.{suffix}"
        damaged.write_bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.2 else data)
        for name in ("", "1", "3", "../x"):
            answers.update(targets.read_archive(damaged / name))
    assert answers
