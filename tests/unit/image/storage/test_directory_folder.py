"""A folder in a layer: read as its files are, also while the layer is held, and through no link."""

from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.storage.directory import DirectoryStorage
from lamina.core.image.storage.walk import ignore


@pytest.mark.parametrize("held", [False, True])
def test_files_of_a_folder(held: bool, tmp_path: Path) -> None:
    (tmp_path / "lamina").mkdir()
    (tmp_path / "lamina/sent-2.img").write_bytes(b"two")
    (tmp_path / "lamina/sent-1.img").write_bytes(b"one")
    (tmp_path / "link").symlink_to("lamina")
    storage = DirectoryStorage(tmp_path)
    if held:
        storage.hold(ignore)
    assert storage.names_in("lamina") == ("lamina/sent-1.img", "lamina/sent-2.img")
    assert storage.names_in("link") == storage.names_in("none") == ()
    assert storage.read("lamina/sent-2.img") == b"two"
    with pytest.raises(ImageError):
        storage.read("lamina/none")
