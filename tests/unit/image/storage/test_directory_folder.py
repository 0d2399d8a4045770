"""A folder in a layer: read as its files are, also while the layer is held, and through no link."""

from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.storage.directory import DirectoryPlace
from lamina.core.image.storage.walk import ignore


@pytest.mark.parametrize("held", [False, True])
def test_files_of_a_folder(held: bool, tmp_path: Path) -> None:
    (tmp_path / "lamina").mkdir()
    (tmp_path / "lamina/sent-2.img").write_bytes(b"two")
    (tmp_path / "lamina/sent-1.img").write_bytes(b"one")
    (tmp_path / "link").symlink_to("lamina")
    place = DirectoryPlace(tmp_path)
    if held:
        place.hold(ignore)
    assert place.names_in("lamina") == ("lamina/sent-1.img", "lamina/sent-2.img")
    assert place.names_in("link") == place.names_in("none") == ()
    assert place.read("lamina/sent-2.img") == b"two"
    with pytest.raises(ImageError):
        place.read("lamina/none")
