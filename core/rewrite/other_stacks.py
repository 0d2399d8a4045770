"""Children of a stack's layers that are outside the stack: in directories next to it or inside its layers, or unreadable.

Only `parent` links are read. Children farther away are not found; once their parent is dropped, verifying them says so, and `undo` helps.
"""

import os
from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path

# Directories looked into: a stack may lie in one that has very many.
MOST = 10_000


def children_elsewhere(stack: Path, wanted: Container[Path]) -> Iterator[tuple[Path, Path]]:
    """(directory of the child, its parent among *wanted*) for each child nearby. *stack* and *wanted* are resolved paths."""
    for directory in islice(_within_reach(stack), MOST):
        try:
            link = os.readlink(directory / "parent")
        except OSError:
            continue
        above = Path(os.path.realpath(directory / link))
        if above in wanted:
            yield directory, above


def _within_reach(stack: Path) -> Iterator[Path]:
    """The directories in the stack and in its layers, and the directories next to the stack with those in them."""
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
