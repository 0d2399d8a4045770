"""What fuzzing found, once each: small images that take much memory, names that move the cursor, names of any length."""

import os
import resource
import time
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from lamina.core.image.show import as_tree
from lamina.core.image.stack import Stack
from lamina.core.verify import verify_stack
from tests.unit.image.layers import Spec, make


def test_a_small_file_is_read_into_a_small_buffer(tmp_path: Path) -> None:
    path = tmp_path / "fs-1.img"
    path.write_bytes(fmt.encode_image("fs", [schema.fs_entry(cwd_id=1, root_id=1)]))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), old[1]))
    try:
        assert fmt.decode_one(path, fmt.FS).cwd_id == 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


@pytest.mark.parametrize("link", ["\n", "../\x1b[2J", "../\udcff", "../a\tb"])
def test_no_line_moves_the_cursor(link: str, tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1}}))
    make(tmp_path, "2", Spec({7: set()}, {7: {1}}), "1")
    (tmp_path / "2/parent").unlink()
    (tmp_path / "2/parent").symlink_to(link)
    for report in verify_stack(Stack.open(tmp_path)).reports:
        assert report.why.isprintable()
        assert all(str(finding).isprintable() for finding in report.findings)
    with pytest.raises(ImageError) as caught:
        Layer(tmp_path / "2").chain()
    assert str(caught.value).isprintable()


def test_a_link_that_is_too_long_is_shown(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    os.symlink("x" * 300, layer.file("parent"))
    assert as_tree(layer.file("parent"))["target"] == "x" * 300
    assert as_tree(layer.path)["parent"]["kind"] == "link"


def test_a_terabyte_of_holes_is_verified_at_once(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    layer.file("lamina.json").unlink()  # without a sidecar there is no checksum: all of the file is read
    os.truncate(layer.file("pages-1.img"), 1 << 40)
    begin = time.monotonic()
    (report,) = verify_stack(Stack.open(tmp_path)).reports
    assert "longer than its map says" in report.why
    assert time.monotonic() - begin < 5
