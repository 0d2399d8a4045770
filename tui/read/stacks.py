"""The stacks under the state directory: how the layers of a program that has ended are found again. Called in worker threads."""

from dataclasses import dataclass
from pathlib import Path

from lamina.tui import places


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


def known_stacks(root: Path | None = None) -> tuple[KnownStack, ...]:
    """All stacks with at least one layer under *root* (the state directory), the newest first."""
    found = []
    place = root or places.stacks_root()
    for directory in place.iterdir() if place.is_dir() else ():
        times = []
        for inventory in directory.glob("*/inventory.img"):
            try:
                times.append(inventory.stat().st_mtime)
            except OSError:
                continue  # dropped meanwhile
        if times:
            found.append(KnownStack(directory, len(times), max(times)))
    return tuple(sorted(found, key=lambda stack: (-stack.time, stack.path)))
