"""A layer that is exchanged for another while it is read: never a mixture of both."""

import os
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.storage.directory import DirectoryStorage


def test_no_file_of_another_directory_is_read(tmp_path: Path) -> None:
    for name, text in (("1", b"old"), ("2", b"new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pages-1.img").write_bytes(text)
    storage = DirectoryStorage(tmp_path / "1")
    with storage.open("pages-1.img") as before:
        os.rename(tmp_path / "1", tmp_path / "3")
        os.rename(tmp_path / "2", tmp_path / "1")
        assert before.pread(3, 0) == b"old"
    for read in (storage.open, storage.read):
        with pytest.raises(ImageError, match="changed or moved meanwhile"):
            read("pages-1.img")
    with DirectoryStorage(tmp_path / "1").open("pages-1.img") as after:
        assert after.pread(3, 0) == b"new"
