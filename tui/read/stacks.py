"""The stacks under the state directory, where the layers of a program that has ended are found again. Called in worker threads."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lamina.tui import paths

_INVENTORY = "inventory.img"


@dataclass(frozen=True)
class KnownStack:
    """One stack directory.

    Attributes:
        path: the directory.
        layers: how many it holds.
        time: when the last one was committed, seconds since the epoch.
    """

    path: Path
    layers: int
    time: float


def known_stacks(root: Path | None = None, also: Iterable[Path] = ()) -> tuple[KnownStack, ...]:
    """All stacks with at least one layer under *root* (by default the state directory) and in *also*, the newest first."""
    found = []
    place = root or paths.stacks_root()
    for directory in {*(place.iterdir() if paths.is_directory(place) else ()), *also}:
        times = []
        for inventory in directory.glob(f"*/{_INVENTORY}"):
            try:
                times.append(inventory.stat().st_mtime)
            except OSError:
                continue  # dropped meanwhile
        if times:
            found.append(KnownStack(directory, len(times), max(times)))
    return tuple(sorted(found, key=lambda stack: (-stack.time, stack.path)))


def stack_at(path: Path) -> Path:
    """The stack that a user means by *path*: for a layer the directory that it is in, else the path itself. Absolute."""
    place = path.absolute()
    return place.parent if paths.is_file(place / _INVENTORY) else place


def holds_layers(path: Path) -> bool:
    """Whether there is a stack at *path*: a directory with a layer in it, or a file, which then must be an archive."""
    if paths.is_file(path):
        return True
    try:
        with os.scandir(path) as entries:
            return any((Path(entry.path) / _INVENTORY).exists() for entry in entries if entry.is_dir(follow_symlinks=False))
    except (OSError, ValueError):  # as of a name with a NUL
        return False
