"""Pages files at rest: read as if they were not compressed, and nothing in their heads is believed."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.archive.compress import compress
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.storage.compressed import CompressedContent, Original, expanded_size
from lamina.core.image.storage.locate import storage_of
from tests.unit.image.layers import Spec, make

RUNS = st.sets(st.integers(0, 200)).map(lambda pages: PageRuns.from_pages([page * PAGE for page in pages]))


@given(st.integers(1 << 20, 1 << 50), st.integers(0, 0o7777), st.integers(-(10**18), 10**19), RUNS)
def test_the_shape_comes_back(size: int, mode: int, mtime_ns: int, holes: PageRuns) -> None:
    original = Original(size, mode, mtime_ns, holes)
    assert Original.from_frame(original.to_frame()[8:], "x") == original


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"size": -1}, {"size": "4"}, {"size": 1 << 70}, {"mode": 0o100000}, {"mtime_ns": None},
        {"lamina": "x"}, {"size": True},
    ],
)  # fmt: skip
def test_a_head_that_is_not_sound_is_refused(change: dict[str, object]) -> None:
    text, _, rest = Original(PAGE, 0o600, 0, PageRuns.empty()).to_frame()[8:].partition(b"\n")
    with pytest.raises(ImageError, match="damaged image x"):
        Original.from_frame(json.dumps(json.loads(text) | change).encode() + b"\n" + rest, "x")


@pytest.mark.parametrize("holes", [(0, 8 * PAGE), (1, PAGE), (1 << 63, 1 << 63), (PAGE, (1 << 64) - 1)])
def test_holes_behind_the_end_are_refused(holes: tuple[int, int]) -> None:
    frame = Original(4 * PAGE, 0o600, 0, PageRuns.empty()).to_frame()[8:]
    with pytest.raises(ImageError, match="damaged image x"):
        Original.from_frame(frame + struct.pack("<QQ", *holes), "x")


def test_storage_shows_the_file_it_was(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(64))}))
    before, names = layer.read("pages-1.img"), layer.names()
    compress(layer)
    storage = storage_of(tmp_path / "1")
    assert (tmp_path / "1/pages-1.img.zst").exists() and not (tmp_path / "1/pages-1.img").exists()
    assert storage.names() == names and storage.compressed and storage.writable
    info = storage.info("pages-1.img")
    assert info is not None and info.is_file and info.size == len(before) and info.disk_bytes < len(before)
    with storage.open("pages-1.img") as content:
        assert content.fd is None and content.pread(PAGE, 5 * PAGE) == before[5 * PAGE : 6 * PAGE]
    assert storage.read("pages-1.img") == before
    with pytest.raises(ImageError, match="262144 bytes, more than the 9"):
        storage.read("pages-1.img", 9)


@pytest.mark.parametrize("keep", [0, 7, 100, -1, -9])
def test_a_file_cut_short_is_one_clear_line(tmp_path: Path, keep: int) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(64))}))
    compress(layer)
    packed = tmp_path / "1/pages-1.img.zst"
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(ImageError, match=r"pages-1\.img\.zst: (not a file that lamina compressed|its table of frames)"):
        CompressedContent(packed)
    expanded_size(packed)  # never raises: what is wrong is said when it is read


def test_a_plain_file_beside_it_counts(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(64))}))
    before = layer.read("pages-1.img")
    compress(layer)
    (tmp_path / "1/pages-1.img").write_bytes(before[:-PAGE] + b"?" * PAGE)
    assert storage_of(tmp_path / "1").read("pages-1.img")[-PAGE:] == b"?" * PAGE
