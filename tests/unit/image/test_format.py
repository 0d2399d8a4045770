"""Images as bytes: what is written is read back, and what is damaged is refused in one line that names the file."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from tests.unit.image.layers import core, fown, inventory, mm, reg

PIPES = [
    (schema.pipe_data_entry(pipe_id=7, bytes=5, size=65536), b"hello"),
    (schema.pipe_data_entry(pipe_id=8, bytes=0), b""),
    (schema.pipe_data_entry(pipe_id=9, bytes=3), b"\0\1\2"),
]
EVENTFD = schema.file_entry(
    type=schema.fd_types.EVENTFD, id=3, efd=schema.eventfd_file_entry(id=3, flags=2, fown=fown(), counter=2**64 - 2)
)
SMALL_FILES = {
    "inventory.img": fmt.encode_image("inventory", [inventory()]),
    "pstree.img": fmt.encode_image("pstree", [schema.pstree_entry(pid=7, ppid=0, pgid=7, sid=1, threads=[7, 8])]),
    "core-7.img": fmt.encode_image("core", [core(7, True)]),
    "mm-7.img": fmt.encode_image("mm", [mm()]),
    "files.img": fmt.encode_image("files", [reg(1, b"bin/\xffx"), EVENTFD]),
    "pipes-data.img": fmt.encode_image("pipes-data", PIPES),
    "stats-dump": fmt.encode_image("stats-dump", [schema.stats_entry()]),
}


def test_heads_are_those_of_the_format() -> None:
    assert SMALL_FILES["inventory.img"][:4].hex() == "16313158"
    assert SMALL_FILES["core-7.img"][:8].hex() == "19435654" + "47380555"
    assert SMALL_FILES["stats-dump"][:8].hex() == "40591055" + "06330957"


@pytest.mark.parametrize("name", SMALL_FILES)
def test_records_come_back(name: str) -> None:
    kind = fmt.kind_of_file(name)
    assert kind is not None
    records = fmt.decode_image(SMALL_FILES[name], kind.name)
    blobs = fmt.decode_blobs(SMALL_FILES[name], kind)
    assert fmt.encode_image(kind, blobs if kind.blob else records) == SMALL_FILES[name]


def test_bytes_that_are_not_utf8_survive() -> None:
    assert fmt.decode(SMALL_FILES["files.img"], fmt.FILES)[0].reg.name == b"bin/\xffx"
    assert fmt.decode_one(SMALL_FILES["core-7.img"], fmt.CORE).thread_core.comm == b"thread \xff"


def test_blobs_follow_their_record() -> None:
    assert [blob for _, blob in fmt.decode_blobs(SMALL_FILES["pipes-data.img"], fmt.PIPES_DATA)] == [b"hello", b"", b"\0\1\2"]


@pytest.mark.parametrize("name", SMALL_FILES)
def test_truncation_at_every_byte_is_an_image_error(name: str, tmp_path: Path) -> None:
    whole = SMALL_FILES[name]
    kind = fmt.kind_of_file(name)
    assert kind is not None
    borders = {len(kind.head_bytes), len(whole)} | {at for _, _, at in fmt.records_of(whole, kind, name)}
    for end in range(len(whole)):
        path = tmp_path / name
        path.write_bytes(whole[:end])
        if end in borders:
            assert len(fmt.decode(path, kind)) < len(fmt.decode(whole, kind)) or kind.blob
        else:
            with pytest.raises(ImageError) as caught:
                fmt.decode(path, kind)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)


@given(st.sampled_from(sorted(SMALL_FILES)), st.data())
def test_damage_is_an_image_error_or_other_values(name: str, data: st.DataObject) -> None:
    raw = bytearray(SMALL_FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    kind = fmt.kind_of_file(name)
    assert kind is not None
    try:
        fmt.decode_blobs(bytes(raw), kind)
    except ImageError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=64))
def test_anything_is_an_image_error_or_records(raw: bytes) -> None:
    with contextlib.suppress(ImageError):
        fmt.decode(fmt.CORE.head_bytes + raw, fmt.CORE)


def test_a_missing_required_field_is_refused_on_both_sides() -> None:
    with pytest.raises(ImageError, match="missing required"):
        fmt.encode_image("pstree", [schema.pstree_entry(pid=1)])
    partial = schema.pstree_entry(pid=1).SerializePartialToString()
    with pytest.raises(ImageError, match="pstree_entry"):
        fmt.decode(fmt.PSTREE.head_bytes + len(partial).to_bytes(4, "little") + partial, fmt.PSTREE)


def test_a_blob_that_does_not_fit_its_record_is_refused() -> None:
    with pytest.raises(ImageError, match="announces 5 bytes and has 4"):
        fmt.encode_image("pipes-data", [(schema.pipe_data_entry(pipe_id=1, bytes=5), b"abcd")])


def test_another_kind_is_refused_by_its_magic() -> None:
    with pytest.raises(ImageError, match="magic"):
        fmt.decode(SMALL_FILES["core-7.img"], fmt.MM, "mm-7.img")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "core-1.img").symlink_to("/proc/self/environ")
    os.mkfifo(tmp_path / "core-2.img")
    (tmp_path / "core-3.img").mkdir()
    for number, why in ((1, "symbolic"), (2, "not a regular file"), (3, "not a regular file"), (4, "missing")):
        with pytest.raises(ImageError, match=why):
            fmt.decode(tmp_path / f"core-{number}.img", fmt.CORE)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "files.img"
    with path.open("wb") as file:
        file.truncate(fmt.MAX_FILE + 1)
    with pytest.raises(ImageError, match="more than"):
        fmt.decode(path, fmt.FILES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("core-4711.img", "core"), ("pagemap-shmem-3.img", "pagemap"), ("fdinfo-2.img", "fdinfo"), ("tty-info.img", "tty-info"),
        ("stats-dump", "stats-dump"), ("pipes-data.img", "pipes-data"), ("pages-1.img", None), ("lamina.json", None),
        ("core-1", None), (".img", None), ("parent", None),
    ],
)  # fmt: skip
def test_kinds_by_file_name(name: str, kind: str | None) -> None:
    found = fmt.kind_of_file(name)
    assert (found.name if found else None) == kind
