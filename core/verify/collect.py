"""Collects findings: a check yields them and may end with an error, which becomes the last one.

An image can be wrong in a million places, and nobody reads a million lines: findings are limited, and one more says that there are more.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.verify.findings import Finding, Severity

MOST: Final = 100
"""Findings of one check."""
_ALIKE: Final = 5
"""Findings of one kind about one file."""


def collect(layer: Layer, file: str, check: Callable[[], Iterator[Finding]], severity: Severity = Severity.STOPS) -> list[Finding]:
    """What *check* yields, at most `MOST` findings. An `ImageError` ends it and becomes a finding of that *severity*, about *file* unless
    the error names another.
    """
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)
            if len(found) == MOST:
                found.append(Finding.of(layer, file, "so much is wrong that no more was looked at", severity))
                break
    except ImageError as error:
        found.append(Finding.from_error(layer, file, error, severity))
    return found


def some(layer: Layer, file: str, sentences: Iterable[str], severity: Severity = Severity.STOPS, fix: str = "") -> Iterator[Finding]:
    """Findings about one *file*, at most `_ALIKE`, and one that says that there are more."""
    left = iter(sentences)
    for why in islice(left, _ALIKE):
        yield Finding.of(layer, file, why, severity, fix)
    if next(left, None) is not None:
        yield Finding.of(layer, file, "and more of that kind", severity, fix)


def readable(read: Callable[[], object]) -> bool:
    """Whether *read* succeeds; the reason for a failure is reported elsewhere."""
    try:
        read()
    except ImageError:
        return False
    return True


def pages(count: int) -> str:
    """ "1 page", "812 pages"."""
    return f"{count} page{'' if count == 1 else 's'}"


def first(runs: PageRuns) -> str:
    """Where *runs* begin, for a message."""
    return f"the first at {int(runs.starts[0]):#x}"
