"""Neither C nor what wraps it keeps memory or descriptors, whether it succeeds or fails."""

import gc
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image.draft import LayerDraft
from lamina.core.image.holes import file_holes, holes_of, punch
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_kib() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def grows(act: Callable[[], object], times: int) -> int:
    """KiB of resident memory that *times* repetitions add after as many to warm up."""
    for _ in range(times):
        act()
    before = resident_kib()
    for _ in range(times):
        act()
    return resident_kib() - before


MAP = PageMap.of(1, PageRuns.from_pages(np.arange(0, 20_000, 2, dtype=np.uint64) * PAGE), PageRuns.empty())
WHOLE = MAP.encode()


def decode_damaged() -> None:
    with suppress(ImageError):
        PageMap.decode(WHOLE[:-3])


def test_encoding_and_decoding_keep_no_memory() -> None:
    # One leaked buffer of 10,000 entries a time would be 16 MiB.
    assert grows(MAP.encode, 100) < 4096
    assert grows(lambda: PageMap.decode(WHOLE), 100) < 4096
    assert grows(decode_damaged, 100) < 4096


def test_descriptors_after_success_and_failure(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2, 3}}))
    make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1")
    before = open_descriptors()
    for _ in range(5):
        assert check_chain(Layer(tmp_path / "2"), contents=True) == []
        (tmp_path / "new").mkdir(exist_ok=True)
        with LayerDraft.create(tmp_path / "new", "../1") as draft:
            draft.open_pages(1)
        with pytest.raises(ImageError):
            LayerDraft.create(tmp_path / "1")
        with pytest.raises(ImageError):
            LayerDraft.create(tmp_path / "new", "../none")
    layer.file("pages-1.img").write_bytes(b"short")
    layer.file("core-7.img").write_bytes(b"short")
    for _ in range(5):
        assert check_chain(Layer(tmp_path / "1"), contents=True)
    assert open_descriptors() == before


def test_holes_are_found_where_they_were_made(tmp_path: Path) -> None:
    path = tmp_path / "pages-1.img"
    path.write_bytes(os.urandom(64 * PAGE))
    assert not file_holes(path, 64 * PAGE)
    wanted = PageRuns.of([(0, PAGE), (5 * PAGE, 9 * PAGE), (63 * PAGE, 64 * PAGE)])
    with path.open("r+b") as file:
        before = os.fstat(file.fileno()).st_blocks
        punch(file.fileno(), wanted)
        punch(file.fileno(), PageRuns.empty())
        assert holes_of(file.fileno(), 64 * PAGE) == wanted
        assert os.fstat(file.fileno()).st_blocks == before - 6 * PAGE // 512
        assert os.fstat(file.fileno()).st_size == 64 * PAGE

        def once() -> None:
            punch(file.fileno(), wanted)
            holes_of(file.fileno(), 64 * PAGE)

        assert grows(once, 200) < 4096


def test_more_holes_than_the_first_guess(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    wanted = PageRuns.from_pages(np.arange(0, 10_000, 2, dtype=np.uint64) * PAGE)
    path.write_bytes(b"\1" * 10_000 * PAGE)
    with path.open("r+b") as file:
        punch(file.fileno(), wanted)
    assert file_holes(path, 10_000 * PAGE) == wanted
    assert file_holes(path, 100 * PAGE) == wanted.clip(0, 100 * PAGE)


def test_what_cannot_be_punched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGE))
    with path.open("rb") as file, pytest.raises(NativeError, match=r"fallocate\(PUNCH_HOLE\)") as caught:
        punch(file.fileno(), PageRuns.of([(0, PAGE)]))
    assert caught.value.errnum == 9
