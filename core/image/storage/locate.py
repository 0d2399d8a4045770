"""Which storage a path names: a directory, an archive, or one layer in an archive."""

from pathlib import Path

from lamina.core.image.storage.base import Storage
from lamina.core.image.storage.directory import DirectoryStorage


def storage_of(path: Path) -> Storage:
    """The storage that *path* names: a directory, or an archive, or ARCHIVE/NAME for one layer of several in it.

    Raises:
        ImageError: there is nothing of that name, or it is neither.
    """
    for outer in (path, *path.parents):
        try:
            if outer.is_file():
                from lamina.core.image.storage.archive import open_archive

                return open_archive(outer, path.relative_to(outer))
            if outer.exists():
                break
        except OSError:
            continue  # a component is no directory, or may not be read: the directory says why
    return DirectoryStorage(path)


def layers_in(archive: Path) -> list[Path]:
    """The paths of the layers in an archive, each as `storage_of` takes it.

    Raises:
        ImageError: it is no archive of layers.
    """
    from lamina.core.image.storage.archive import Archive

    found = Archive.open(archive)
    return [found.path / layer for layer in sorted(found.layers)]
