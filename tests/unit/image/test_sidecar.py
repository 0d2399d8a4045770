"""lamina.json: it comes back, it is replaced whole, and nothing in it is believed."""

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.sidecar import MAX_SIZE, NAME, NEW_NAME, Sidecar, new_layer_id
from lamina.core.image.storage.content import PlainContent
from lamina.core.image.sums import BLOCK, FileSum, blocks_of, differing_block, sum_bytes, sum_file

WORDS = st.text(max_size=8)
RUNS = st.sets(st.integers(0, 1 << 40)).map(lambda pages: PageRuns.from_pages([page * PAGE for page in pages]))
SIDECARS = st.builds(
    Sidecar,
    layer_id=WORDS, parent_id=st.none() | WORDS, label=WORDS, time=st.floats(0, 1e10), host=WORDS, cpu_features=st.tuples(WORDS, WORDS),
    cmdline=st.tuples(st.just(os.fsdecode(b"\xff")), WORDS), pid=st.integers(0, 1 << 22), tracked=st.booleans(),
    freeze_us=st.integers(0, 1 << 60), restorable=st.booleans(), why_not=WORDS,
    pinned=st.booleans(), pin_reason=WORDS, squashed=st.tuples(WORDS), dropped=st.floats(0, 1e10), dropped_name=WORDS,
    checksums=st.dictionaries(WORDS, st.binary(max_size=9).map(sum_bytes), max_size=3),
    punched=st.dictionaries(WORDS, RUNS, max_size=3),
    other=st.dictionaries(WORDS.map("newer-".__add__), st.integers() | WORDS, max_size=2),
)  # fmt: skip


@given(SIDECARS)
def test_what_is_written_comes_back(sidecar: Sidecar) -> None:
    back = Sidecar.from_json(sidecar.to_json())
    for it in fields(Sidecar):
        assert getattr(back, it.name) == getattr(sidecar, it.name), it.name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WHOLE = json.loads(replace(Sidecar("a" * 32), checksums={"x": sum_bytes(b"y")}, punched={"p": PageRuns.of([(0, PAGE)])}).to_json())


@given(st.sampled_from([*WHOLE, "checksums.x", "punched.p"]), JSON)
@settings(max_examples=300)
def test_any_value_anywhere_is_an_image_error_or_a_sidecar(place: str, value: object) -> None:
    record = json.loads(json.dumps(WHOLE))
    outer, _, inner = place.partition(".")
    if inner:
        record[outer][inner] = value
    else:
        record[outer] = value
    try:
        Sidecar.from_json(json.dumps(record))
    except ImageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"layer_id": 1}', '{"layer_id": "a"}', '{"layer_id": "a", "version": 2}', "[" * 100_000, "\ud800"]
)
def test_what_is_no_sidecar(text: str) -> None:
    with pytest.raises(ImageError, match="damaged sidecar x/lamina.json"):
        Sidecar.from_json(text, "x/lamina.json")


def test_it_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Sidecar(new_layer_id(), label="first"), Sidecar(new_layer_id(), label="second")
    first.store(tmp_path)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600

    def fails(_fd: int) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(ImageError, match="No space left"):
            second.store(tmp_path)
    assert os.listdir(tmp_path) == [NAME]
    assert Sidecar.load(tmp_path) == first
    (tmp_path / NEW_NAME).write_text("x" * 100_000)
    second.store(tmp_path)
    assert os.listdir(tmp_path) == [NAME]
    assert Sidecar.load(tmp_path) == second


def test_none_is_none(tmp_path: Path) -> None:
    assert Sidecar.load(tmp_path) is None


def test_punched_ranges_add_up() -> None:
    sidecar = Sidecar("a").with_punched("p", PageRuns.of([(0, PAGE)]), "3").with_punched("p", PageRuns.of([(PAGE, 2 * PAGE)]), "4")
    assert (sidecar.punched["p"], sidecar.punched_by) == (PageRuns.of([(0, 2 * PAGE)]), ("3", "4"))
    assert sidecar.with_punched("p", PageRuns.empty(), "4").punched_by == ("3", "4")
    marked = sidecar.not_restorable("punched by 3").not_restorable("punched by 4")
    assert (marked.restorable, marked.why_not) == (False, "punched by 3")


def differs(path: Path, expected: FileSum, punched: PageRuns = PageRuns.empty()) -> str:  # noqa: B008  (immutable)
    with PlainContent(path) as content:
        return differing_block(content, expected, punched)


def test_sums_say_where_and_count_punched_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "pages-1.img"
    content = os.urandom(3 * BLOCK + 5000)
    path.write_bytes(content)
    whole = sum_bytes(content)
    assert (whole.size, len(whole.blocks)) == (len(content), 4)
    with path.open("r+b") as file:
        assert sum_file(file.fileno()) == whole
        assert differs(path, whole) == ""
        file.seek(2 * BLOCK + 17)
        file.write(b"\0\0\0\0\0\0\0\0")
        file.flush()
        assert differs(path, whole) == "its content changed since it was written (checksum of MiB 2)"
        file.seek(2 * BLOCK + 17)
        file.write(content[2 * BLOCK + 17 : 2 * BLOCK + 25])
        file.flush()
        hole = PageRuns.of([(BLOCK - PAGE, BLOCK + 2 * PAGE), (3 * BLOCK, 3 * BLOCK + 2 * PAGE)])
        expected = sum_file(file.fileno(), hole)
        zeroed = bytearray(content)
        for start, end in hole:
            zeroed[start : min(end, len(content))] = bytes(min(end, len(content)) - start)
        assert expected == sum_bytes(bytes(zeroed))
        assert differs(path, expected, hole) == ""
        path.write_bytes(zeroed)
        assert differs(path, expected, hole) == ""
    assert blocks_of(hole) == [0, 1, 3]
    assert differs(path, replace(whole, size=7)) == f"has {len(content)} bytes, was written with 7"
    assert sum_bytes(b"") == FileSum(0, ())


def test_a_sidecar_that_nobody_could_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Sidecar(new_layer_id())
    first.store(tmp_path)
    monkeypatch.setattr("lamina.core.image.sidecar.MAX_SIZE", 4096)
    scattered = PageRuns.from_pages([2 * PAGE * at for at in range(2000)])
    with pytest.raises(ImageError, match="more than the 4096"):
        first.with_punched("pages-1.img", scattered, "2").store(tmp_path)
    assert Sidecar.load(tmp_path) == first


def test_a_million_punched_ranges_fit() -> None:
    scattered = PageRuns.from_pages([2 * PAGE * at for at in range(1_000_000)])
    text = Sidecar(new_layer_id()).with_punched("pages-1.img", scattered, "2").to_json()
    assert len(text) < MAX_SIZE // 4
    assert Sidecar.from_json(text).punched["pages-1.img"] == scattered
