"""Layers that stand on one of a stack without being of it: in directories beside the stack's, inside layers, or unreadable.

Only links are read. A layer farther away is not found; when what it stands on is dropped, it says so, and `undo` helps.
"""

import os
from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path

# Directories looked into: a stack may lie in one that has very many.
MOST = 10_000


def children_elsewhere(stack: Path, wanted: Container[Path]) -> Iterator[tuple[Path, Path]]:
    """(directory, the one of *wanted* that its `parent` link names), for all within reach. *stack* and *wanted* are resolved paths."""
    for directory in islice(_within_reach(stack), MOST):
        try:
            link = os.readlink(directory / "parent")
        except OSError:
            continue
        above = Path(os.path.realpath(directory / link))
        if above in wanted:
            yield directory, above


def _within_reach(stack: Path) -> Iterator[Path]:
    """The directories in the stack's, those in them, and those beside the stack's with what is in them."""
    own = _below(stack)
    yield from own
    for layer in own:
        yield from _below(layer)
    for other in _below(stack.parent):
        if other != stack:
            yield other
            yield from _below(other)


def _below(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
