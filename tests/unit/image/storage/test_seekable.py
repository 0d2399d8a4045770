"""Zstandard in frames: any page of it, from several threads, and nothing in its table is believed."""

import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.errors import ImageError
from lamina.core.image.storage.content import PlainContent
from lamina.core.image.storage.seekable import FRAME, FramedContent, FrameWriter, SeekTable, expand_frame, skippable
from lamina.core.image.storage.streams import open_stream
from tests.live.harness import need
from tests.unit.image.stacks import new_stack

# Short, a run of zeros, what packs well and what does not: frames of every kind, and borders between them.
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.integers(1, 3 * FRAME).map(bytes),
        st.tuples(st.binary(min_size=1, max_size=30), st.integers(1, FRAME // 8)).map(lambda it: it[0] * it[1]),
    ),
    max_size=4,
)


def write(path: Path, pieces: list[bytes], between: bytes = b"") -> None:
    with path.open("wb") as file:
        with FrameWriter(file.write) as frames:
            for piece in pieces:
                if between:
                    frames.add_skippable(between)
                frames.add(piece)
            table = frames.finish()
        file.write(table.to_bytes())


@settings(max_examples=25, deadline=None)
@given(PIECES, st.lists(st.tuples(st.integers(0, 4 * FRAME), st.integers(0, 2 * FRAME)), max_size=5))
def test_any_range_reads_as_written(pieces: list[bytes], ranges: list[tuple[int, int]]) -> None:
    with new_stack() as directory:
        write(directory / "x.zst", pieces)
        whole = b"".join(pieces)
        with open_stream(directory / "x.zst") as content:
            assert isinstance(content, FramedContent) or not pieces
            assert content.size == len(whole) or not pieces
            for start, size in [(0, len(whole)), *ranges]:
                if pieces:
                    assert content.pread(size, start) == whole[start : start + size]


def test_zstd_reads_it_too(tmp_path: Path) -> None:
    need("zstd")
    data = [b"layer" * 300_000, bytes(2 * FRAME), b"end"]
    write(tmp_path / "x.zst", data, between=skippable(3, b"for somebody else"))
    assert subprocess.run(["zstd", "-dc", str(tmp_path / "x.zst")], capture_output=True, check=True).stdout == b"".join(data)


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    data = b"".join(bytes([n]) * 4096 for n in range(256)) * 24
    write(tmp_path / "x.zst", [data])
    with open_stream(tmp_path / "x.zst") as content, ThreadPoolExecutor(8) as pool:
        offsets = [n * 7919 * 512 % (len(data) - 9000) for n in range(400)]
        assert list(pool.map(lambda at: content.pread(9000, at), offsets)) == [data[at : at + 9000] for at in offsets]


@pytest.mark.parametrize(
    "footer",
    [
        struct.pack("<IBI", 0xFFFFFFFF, 0, 0x8F92EAB1),  # more frames than there are bytes
        struct.pack("<IBI", 1, 0x7C, 0x8F92EAB1),  # bits that must be zero
        struct.pack("<IBI", 1, 0, 0x8F92EAB2),
    ],
)
def test_a_table_that_is_not_sound_is_no_table(tmp_path: Path, footer: bytes) -> None:
    write(tmp_path / "x.zst", [b"abc" * 1000])
    raw = (tmp_path / "x.zst").read_bytes()
    (tmp_path / "x.zst").write_bytes(raw[:-9] + footer)
    with PlainContent(tmp_path / "x.zst") as source:
        assert SeekTable.read(source) is None
    with open_stream(tmp_path / "x.zst") as content:  # read from its beginning instead
        assert content.pread(10_000, 0) == b"abc" * 1000


def test_a_table_that_lies_about_a_frame_is_found_out(tmp_path: Path) -> None:
    write(tmp_path / "x.zst", [b"abc" * 1000])
    raw = bytearray((tmp_path / "x.zst").read_bytes())
    raw[-13:-9] = struct.pack("<I", 3001)
    (tmp_path / "x.zst").write_bytes(raw)
    with open_stream(tmp_path / "x.zst") as content, pytest.raises(ImageError, match="not as long as its table says"):
        content.pread(1, 0)


def test_a_frame_never_expands_beyond_its_size() -> None:
    from lamina.core.image.storage.seekable import compress_frame

    with pytest.raises(ImageError, match="not as long"):
        expand_frame(compress_frame(bytes(64 << 20)), 4096, "x")


def test_a_flipped_bit_is_found_by_the_checksum_of_the_frame(tmp_path: Path) -> None:
    write(tmp_path / "x.zst", [bytes(range(256)) * 4096])
    raw = bytearray((tmp_path / "x.zst").read_bytes())
    raw[40] ^= 1
    (tmp_path / "x.zst").write_bytes(raw)
    with open_stream(tmp_path / "x.zst") as content, pytest.raises(ImageError, match=r"cannot read .*x\.zst"):
        content.pread(1 << 20, 0)
