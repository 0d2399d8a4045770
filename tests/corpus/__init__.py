"""Image sets that criu and lamina wrote, kept as small archives: what lamina must go on reading. README.md says how each was made."""

import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = tuple(sorted(str(path.relative_to(HERE)).removesuffix(".tar.xz") for path in HERE.rglob("*.tar.xz")))


def unpack(name: str, to: Path) -> Path:
    """Unpack the set *name* (one of NAMES) below *to*, holes and `parent` links included; returns the directory that holds its layers."""
    target = to / name.replace("/", "-")
    target.mkdir(parents=True)
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        extract(archive, target)
    return target


def extract(archive: tarfile.TarFile, target: Path) -> None:
    """All of an archive of ours. Python 3.11.2, Debian 12's, has no filters yet (3.11.4); 3.12 warns where none is named."""
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
    archive.extractall(target)
