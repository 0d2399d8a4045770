"""File systems of other kinds than the machine's own, each in a file and loop-mounted."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The smallest that each can be, and a little; the files are sparse.
SIZES = {"btrfs": 256, "xfs": 320}


class CannotMountError(Exception):
    """This machine cannot: not root, no mkfs, no loop devices, or a kernel without it."""


@contextmanager
def mounted(kind: str, where: Path) -> Iterator[Path]:
    """An empty file system, unmounted and removed afterwards.

    Raises:
        CannotMountError: it cannot be had here.
    """
    mkfs = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if mkfs is None:
        raise CannotMountError(f"mkfs.{kind} is missing")
    image, place = where / f"{kind}.img", where / kind
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZES[kind] << 20)
    try:
        subprocess.run([mkfs, "-q", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        image.unlink()
        raise CannotMountError(f"{kind}: {error.stderr.decode(errors='replace').strip()}") from error
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        image.unlink()


def used(place: Path) -> int:
    """Bytes in use on the file system of *place*, once everything is written."""
    fd = os.open(place, os.O_RDONLY)
    try:
        subprocess.run(["sync", "-f", place], check=True)
        info = os.fstatvfs(fd)
        return (info.f_blocks - info.f_bfree) * info.f_frsize
    finally:
        os.close(fd)
